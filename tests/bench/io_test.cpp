#include "sherd/bench/io.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "io/temp_folder.hpp"

namespace sherd::bench {
namespace {

TEST_CASE("Records are written, read and updated by every engine without a wrong one") {
  const test::TempFolder folder;
  BenchOptions options;
  options.quick = true;
  options.rounds = 1;
  CHECK(io_room(options) <= 384 * mib);
  const std::vector<Row> rows = io(options, folder.path());
  std::set<std::string> names;
  for (const Row& row : rows) {
    CAPTURE(row.name);
    names.insert(row.name);
    CHECK(row.wrong == 0);
    CHECK(row.per_second() > 0);
    CHECK(row.bound > 0);
  }
  CHECK(names.size() == 6 + 2);
  CHECK(names.contains("io read+write 16.00 MiB"));
  CHECK(names.contains("checkpoint save"));
  CHECK((rows.size() - 2) % 6 == 0);
  CHECK(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sherd::bench
