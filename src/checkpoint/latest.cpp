#include "sherd/checkpoint/latest.hpp"

#include <fmt/format.h>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"

namespace sherd::checkpoint {
namespace {

// The first thing that is wrong with it, or nothing.
std::string fault_of(io::Storage& storage, const Found& found) {
  try {
    const Checkpoint one(storage, found.folder);
    if (const std::uint64_t step = one.manifest().progress.step; step != found.step)
      return fmt::format("{}: got a checkpoint of step {}", found.folder, step);
    const std::vector<std::string> problems = one.verify();
    return problems.empty() ? "" : problems.front();
  } catch (const DataError& error) {
    return error.what();
  }
}

}  // namespace

std::optional<Found> find_latest(
    io::Storage& storage, const std::string& root,
    const std::function<void(const Found&, const std::string& why)>& passed) {
  for (Found& found : list(storage, root)) {
    const std::string fault = fault_of(storage, found);
    if (fault.empty()) return std::move(found);
    passed(found, fault);
  }
  return {};
}

}  // namespace sherd::checkpoint
