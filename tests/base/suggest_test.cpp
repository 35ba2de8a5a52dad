#include "sherd/base/suggest.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace sherd;

TEST_CASE("an edit distance counts insertions, deletions, changes and swaps") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("trian", "train") == 1);
  CHECK(edit_distance("ADAMW", "adamw") == 0);
}

TEST_CASE("a suggestion is the nearest candidate, or one the word is part of, or none") {
  const std::vector<std::string> flags = {"--lr", "--layers", "--zero-stage", "--prefetch"};
  CHECK(did_you_mean("--zero_stage", flags) == "; did you mean --zero-stage?");
  CHECK(did_you_mean("--stage", flags) == "; did you mean --zero-stage?");
  CHECK(did_you_mean("--layer", flags) == "; did you mean --layers?");
  CHECK(did_you_mean("--bogus-flag", flags) == "");
  CHECK(did_you_mean("", flags) == "");
  CHECK(did_you_mean("--", flags) == "");
  CHECK(did_you_mean(std::string(100000, 'x'), flags) == "");
}
