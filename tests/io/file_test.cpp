#include "sherd/io/file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <utility>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using test::contains;
using test::message_of;

TEST_CASE("pread_exact returns the bytes at the position") {
  const test::TempFolder folder;
  const File file(folder.write("a", "0123456789"));
  std::array<char, 4> got{};
  file.pread_exact(3, std::as_writable_bytes(std::span(got)));
  CHECK(std::string(got.data(), 4) == "3456");
  file.pread_exact(6, std::as_writable_bytes(std::span(got)));
  CHECK(std::string(got.data(), 4) == "6789");
  file.pread_exact(10, {});
}

TEST_CASE("pread_exact refuses a range outside the file and names it") {
  const test::TempFolder folder;
  const File file(folder.write("short.dat", "0123456789"));
  std::array<std::byte, 4> raw{};
  for (const Bytes offset : {Bytes{7}, Bytes{11}, ~Bytes{0}, ~Bytes{0} - 2}) {
    const std::string message = message_of<DataError>([&] { file.pread_exact(offset, raw); });
    CHECK(contains(message, "short.dat"));
    CHECK(contains(message, "at byte " + std::to_string(offset)));
  }
}

TEST_CASE("A file that shrinks while it is open is reported instead of read as zeros") {
  const test::TempFolder folder;
  const std::string path = folder.write("a", "0123456789");
  const File file(path);
  std::filesystem::resize_file(path, 5);
  std::array<std::byte, 8> raw{};
  CHECK(contains(message_of<DataError>([&] { file.pread_exact(0, raw); }), "shorter"));
}

TEST_CASE("A missing file, a folder and a pipe are refused without waiting") {
  const test::TempFolder folder;
  CHECK(contains(message_of<DataError>([&] { File(folder.path() + "/none"); }), "No such file"));
  CHECK(contains(message_of<DataError>([&] { File(folder.path()); }), "not a regular file"));
  const std::string pipe = folder.path() + "/pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(contains(message_of<DataError>([&] { File{pipe}; }), "not a regular file"));
}

TEST_CASE("A moved file still reads and the old name does not close it") {
  const test::TempFolder folder;
  File first(folder.write("a", "abc"));
  File second(std::move(first));
  File third(folder.write("b", "xyz"));
  third = std::move(second);
  std::array<char, 3> got{};
  third.pread_exact(0, std::as_writable_bytes(std::span(got)));
  CHECK(std::string(got.data(), 3) == "abc");
}

TEST_CASE("read_text refuses a file above its limit") {
  const test::TempFolder folder;
  const File file(folder.write("a", "12345"));
  CHECK(read_text(file, 5) == "12345");
  CHECK_THROWS_AS((void)read_text(file, 4), DataError);
}

TEST_CASE("printable hides control bytes and cuts long text") {
  CHECK(printable("a\x1b[31m\n\x7f") == "a?[31m??");
  CHECK(printable(std::string(500, 'x')).size() == 123);
}

}  // namespace
}  // namespace sherd::io
