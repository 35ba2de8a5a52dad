// Where a program finds its device library.
#include "sherd/launch/devices.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "cli/scratch_folder.hpp"

namespace fs = std::filesystem;
using sherd::launch::library_of;

TEST_CASE("a program finds the device library where it was built and where it was installed") {
  for (const char* place : {"bin", ".", "lib/sherd", "lib64/sherd"}) {
    CAPTURE(place);
    const ScratchFolder folder;
    const fs::path root = folder.file("root"), program = root / "bin";
    fs::create_directories(program);
    CHECK(library_of(program).find(root.string()) == std::string::npos);
    fs::create_directories(root / place);
    const fs::path library = root / place / "libsherd_cuda.so";
    std::ofstream(library) << "code";
    CHECK(library_of(program) == library.lexically_normal().string());
  }
}
