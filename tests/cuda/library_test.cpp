// The device library as a file, and what it says where there is no driver. Paths come from the
// build.
#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>

#include "sherd/base/errors.hpp"
#include "sherd/comm/interface.hpp"
#include "sherd/device/library.hpp"
#include "sherd/kernels/interface.hpp"
#include "sherd/optim/interface.hpp"
#include "support/elf.hpp"

namespace sherd {
namespace {

const std::string library_path = SHERD_CUDA_LIBRARY;
const std::string program_path = SHERD_PROGRAM;

bool is_of_cuda(const std::string& library) {
  for (const char* word : {"cuda", "cudart", "cublas", "cudnn", "nccl", "nvrtc"}) {
    if (library.find(word) != std::string::npos) return true;
  }
  return false;
}

// A table holds nothing but addresses of functions.
template <class Table>
bool is_complete(const void* table) {
  const auto* entry = static_cast<void* const*>(table);
  return std::none_of(entry, entry + sizeof(Table) / sizeof(void*),
                      [](const void* function) { return function == nullptr; });
}

}  // namespace

TEST_CASE("the device library exports the five functions of the interface and nothing else") {
  std::vector<std::string> found = test::Elf(library_path).exported();
  std::vector<std::string> wanted(std::begin(device::library_symbols),
                                  std::end(device::library_symbols));
  std::sort(found.begin(), found.end());
  std::sort(wanted.begin(), wanted.end());
  CHECK(found == wanted);
}

TEST_CASE("the program needs no CUDA library to start") {
  const std::vector<std::string> needed = test::Elf(program_path).needed();
  CHECK(!needed.empty());
  CHECK(std::none_of(needed.begin(), needed.end(), is_of_cuda));
}

TEST_CASE("the device library needs neither the driver nor NCCL to be opened") {
  const std::vector<std::string> needed = test::Elf(library_path).needed();
  CHECK(std::any_of(needed.begin(), needed.end(), is_of_cuda));
  for (const std::string& name : needed) {
    CHECK(name.rfind("libcuda.so", 0) != 0);
    CHECK(name.rfind("libnccl", 0) != 0);
  }
}

TEST_CASE("the device library's tables hold every function of the interfaces") {
  const device::Library library = device::open_library(library_path);
  CHECK(is_complete<device::Interface>(library.device));
  CHECK(is_complete<kernels::Interface>(library.kernels));
  CHECK(is_complete<optim::Interface>(library.optim));
  CHECK(is_complete<comm::Interface>(library.comm));
}

TEST_CASE("the device library names the driver where there is none") {
  if (device::why_no_cuda_driver().empty()) {
    std::cout << "SKIP: this machine has a CUDA driver\n";
    return;
  }
  const device::Library library = device::open_library(library_path);
  try {
    (void)library.device->count();
    FAIL("counted devices without a driver");
  } catch (const DeviceError& error) {
    CHECK(std::string(error.what()) == "CUDA: no driver is installed on this machine");
  }
  CHECK_THROWS_AS(device::open_device(library_path, 0), DeviceError);
  CHECK_THROWS_AS(library.device->open(0), DeviceError);
}

}  // namespace sherd
