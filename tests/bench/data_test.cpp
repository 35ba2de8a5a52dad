#include "sherd/bench/data.hpp"

#include <doctest/doctest.h>

#include "data/tokenizer_case.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::bench {
namespace {

TEST_CASE("Encoding is timed beside remembered words and beside one thread, and loses nothing") {
  const std::string text = test::content_of(test::tokenizer_fixture("text.txt"));
  BenchOptions options;
  options.threads = 2;
  options.rounds = 1;
  const std::vector<Row> rows = data(options, test::small_tokenizer("gpt2"), text);
  REQUIRE(rows.size() == 2);
  for (const Row& row : rows) {
    CHECK(row.name == "encode");
    CHECK(row.wrong == 0);
    CHECK(row.work == static_cast<double>(text.size()));
    CHECK(row.bound > 0);
    CHECK(row.time.median > 0);
  }
  const std::vector<Row> changed = data(options, test::small_tokenizer("gpt2"), "a\xff");
  CHECK(changed[0].wrong > 0);  // U+FFFD is not what was there
  const std::string apart = "caf\x65\xcc\x81 \xe1\x84\x92\xe1\x85\xa1";  // NFC joins these
  for (const char* tokenizer : {"gpt2", "qwen"})
    CHECK(data(options, test::small_tokenizer(tokenizer), apart)[0].wrong == 0);
  CHECK_THROWS_AS((void)data(options, test::small_tokenizer("gpt2"), ""), UsageError);
}

}  // namespace
}  // namespace sherd::bench
