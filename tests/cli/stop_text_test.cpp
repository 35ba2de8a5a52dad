#include "cli/stop_text.hpp"

#include <doctest/doctest.h>

using sherd::cli::StopText;

TEST_CASE("text without stop strings passes at once") {
  StopText stop({});
  CHECK(stop.push("any") == "any");
  CHECK(stop.finish().empty());
  CHECK_FALSE(stop.stopped());
}

TEST_CASE("text ends before a stop string, wherever it is cut") {
  const std::string text = "one two\n\nthree";
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      StopText stop({"\n\n"});
      std::string shown = stop.push(text.substr(0, a));
      shown += stop.push(text.substr(a, b - a));
      shown += stop.push(text.substr(b));
      shown += stop.finish();
      CHECK(shown == "one two");
      CHECK(stop.stopped());
    }
  }
}

TEST_CASE("an end that only looked like a stop string is shown after all") {
  StopText stop({"</end>", "aab"});
  CHECK(stop.push("x</e") == "x");
  CHECK(stop.push("nd") == "");
  CHECK(stop.push(" y") == "</end y");
  CHECK(stop.push("aa") == "");
  CHECK(stop.push("a") == "a");
  CHECK_FALSE(stop.stopped());
  CHECK(stop.finish() == "aa");
}

TEST_CASE("the first stop string of several counts") {
  StopText stop({"late", "soon"});
  CHECK(stop.push("it is soon, not late") == "it is ");
  CHECK(stop.stopped());
  CHECK(stop.push("more").empty());
}
