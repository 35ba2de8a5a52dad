#include "data/fingerprint.hpp"

#include <doctest/doctest.h>

#include "io/temp_folder.hpp"

namespace sherd::data {
namespace {

std::uint64_t of(const std::string& path) {
  Fingerprint fingerprint;
  fingerprint.add(io::File(path));
  return fingerprint.value();
}

TEST_CASE("Of nothing the fingerprint is XXH64 of nothing with seed 0") {
  CHECK(Fingerprint().value() == 0xef46db3751d8e999u);  // xxHash's published test vector
}

TEST_CASE("Up to 2 MiB every byte counts") {
  const test::TempFolder folder;
  std::string content(2 * mib, 'a');
  const std::uint64_t before = of(folder.write("a", content));
  for (const std::size_t at : {std::size_t{0}, std::size_t{1234567}, content.size() - 1}) {
    content[at] = 'b';
    CHECK(of(folder.write("a", content)) != before);
    content[at] = 'a';
  }
}

TEST_CASE("Of a large file size, edges and blocks at equal distances count") {
  const test::TempFolder folder;
  const std::size_t size = 10 * mib;
  std::string content(size, 'a');
  const std::uint64_t before = of(folder.write("a", content));
  CHECK(of(folder.write("a", content + "a")) != before);
  const std::size_t stride = (size - 2 * mib) / 64;
  for (const std::size_t at : {std::size_t{5}, mib - 1, mib + 3 * stride, mib + 63 * stride + 4095,
                               size - mib, size - 1}) {
    content[at] = 'b';
    CHECK(of(folder.write("a", content)) != before);
    content[at] = 'a';
  }
}

TEST_CASE("Numbers and their order count") {
  Fingerprint a, b;
  a.add(1), a.add(2);
  b.add(2), b.add(1);
  CHECK(a.value() != b.value());
}

}  // namespace
}  // namespace sherd::data
