// The device library and its emulated twin are one interface: what they export is the same list.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "sherd/device/library.hpp"
#include "support/process.hpp"

using namespace sherd;

namespace {

using Names = std::vector<std::string>;

/// Everything of ours that a library exports, sorted.
Names exported(const std::string& path) {
  const test::Outcome outcome = test::run({SHERD_NM, "-D", "--defined-only", path});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  std::istringstream lines(outcome.out);
  Names names;
  for (std::string address, kind, name; lines >> address >> kind >> name;) {
    if (name.find("sherd") != std::string::npos) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}
Names wanted() {
  Names names(std::begin(device::library_symbols), std::end(device::library_symbols));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE(
    "the emulated library exports the functions of a device library and nothing else of ours") {
  CHECK(exported(SHERD_EMULATED_LIBRARY) == wanted());
}

TEST_CASE("the CUDA library exports what its emulated twin exports") {
  if (access(SHERD_CUDA_LIBRARY, R_OK) != 0) {
    std::puts("SKIP: the CUDA library is not built");
    return;
  }
  CHECK(exported(SHERD_CUDA_LIBRARY) == exported(SHERD_EMULATED_LIBRARY));
}
