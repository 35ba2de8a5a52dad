#include "sherd/io/write.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t entries_of(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST_CASE("write_atomically makes a file and replaces it, and leaves nothing else") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/out.json";
  for (const std::string text : {"one", "a longer second", ""}) {
    write_atomically(path, std::as_bytes(std::span(text)));
    CHECK(content_of(path) == text);
    CHECK(entries_of(folder.path()) == 1);
  }
}

TEST_CASE("write_atomically keeps the old file when the new one does not fit") {
  const test::TempFolder folder;
  const std::string path = folder.write("out", "old");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string large(10000, 'x');
  const std::string message =
      test::message_of<DataError>([&] { write_atomically(path, std::as_bytes(std::span(large))); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(test::contains(message, path));
  CHECK(content_of(path) == "old");
  CHECK(entries_of(folder.path()) == 1);
}

TEST_CASE("write_atomically names the file whose folder is missing") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/none/out";
  CHECK(test::contains(test::message_of<DataError>([&] { write_atomically(path, {}); }), path));
}

}  // namespace
}  // namespace sherd::io
