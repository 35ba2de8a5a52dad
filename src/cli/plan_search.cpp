#include "cli/plan_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/own_arguments.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::cli {
namespace {

std::string bytes_text(Bytes bytes) {
  return bytes >= Bytes{1} << 62 ? "any" : format_bytes(bytes);
}

nlohmann::json bytes_json(const launch::Limits& bytes) {
  const auto number = [](Bytes of) {
    return of == std::numeric_limits<Bytes>::max() ? nlohmann::json() : nlohmann::json(of);
  };
  return {{"device", number(bytes.device)},
          {"host", number(bytes.host)},
          {"files", number(bytes.files)}};
}

std::string row(const launch::Candidate& c) {
  const std::string flags = c.flags.empty() ? "as asked" : c.flags;
  return fmt::format("{:>11.4g} {:>12} {:>12} {:>12}  {}{}\n", c.seconds,
                     format_bytes(c.needs.device), format_bytes(c.needs.host),
                     format_bytes(c.needs.files), flags, c.why.empty() ? "" : "  (" + c.why + ")");
}

}  // namespace

plan::Machine machine_given(const std::string& name, const launch::Validated& run) {
  if (name.empty()) return plan::machine(run.on_device() ? "h200" : "cpu");
  if (name == "cpu" || name == "h200") return plan::machine(name);
  std::error_code absent;
  if (!std::filesystem::exists(name, absent))
    throw ConfigError(
        {"--machine: got '" + name + "', need cpu, h200 or a JSON file that is there"});
  return plan::read_machine(name);
}

launch::SearchOptions own_search(const launch::Validated& run, const plan::Machine& machine) {
  launch::SearchOptions options = launch::search_options(run, machine);
  options.given = launch::given_keys(run.asked(), own_arguments());
  return options;
}

std::optional<launch::Candidate> fitted(const launch::Validated& run, const launch::Job& job) {
  const launch::SearchResult result =
      launch::search(run, job, own_search(run, machine_given({}, run)));
  if (!result.any_fits()) return std::nullopt;
  return result.found.front();
}

std::string search_text(const launch::SearchResult& result, const launch::SearchOptions& options) {
  std::string text =
      fmt::format("searched: {} plans of {:.0f} combinations, rates of {} ({})\n", result.planned,
                  result.combinations, options.machine.name, plan::kind_of_rates(options.machine));
  text += fmt::format("allowed: {} a rank on the device, {} in host memory, {} in files\n",
                      bytes_text(options.limits.device), bytes_text(options.limits.host),
                      bytes_text(options.limits.files));
  text += fmt::format("{:>11} {:>12} {:>12} {:>12}  {}\n", "s a step", "device", "host", "files",
                      "flags");
  for (const launch::Candidate& c : result.found) text += row(c);
  return text;
}

std::string search_json(const launch::SearchResult& result, const launch::SearchOptions& options) {
  nlohmann::json candidates = nlohmann::json::array();
  for (const launch::Candidate& c : result.found) {
    candidates.push_back({{"flags", c.flags},
                          {"fits", c.fits()},
                          {"step_seconds", c.seconds},
                          {"need", bytes_json(c.needs)},
                          {"why", c.why}});
  }
  const nlohmann::json all = {{"machine", options.machine.name},
                              {"rates", plan::kind_of_rates(options.machine)},
                              {"planned", result.planned},
                              {"combinations", result.combinations},
                              {"limits", bytes_json(options.limits)},
                              {"candidates", std::move(candidates)}};
  return all.dump();
}

}  // namespace sherd::cli
