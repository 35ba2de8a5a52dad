#include "device/built_for.hpp"

#include <doctest/doctest.h>

using sherd::cuda::is_built_for;

TEST_CASE("code for a card with a letter runs on that card alone") {
  CHECK(is_built_for("sm_90a", 90));
  CHECK_FALSE(is_built_for("sm_90a", 80));
  CHECK_FALSE(is_built_for("sm_90a", 100));
  CHECK(is_built_for("sm_90a, sm_100a", 100));
}

TEST_CASE("code for a plain number runs on later cards and not on earlier ones") {
  CHECK(is_built_for("sm_80", 80));
  CHECK(is_built_for("sm_80", 90));
  CHECK_FALSE(is_built_for("sm_80", 75));
  CHECK(is_built_for("sm_80-real", 86));
  CHECK_FALSE(is_built_for("sm_80-real", 90));
  CHECK(is_built_for("sm_90a, sm_75", 80));
}

TEST_CASE("an architecture that names no number excludes no card") {
  CHECK(is_built_for("sm_native", 70));
  CHECK_FALSE(is_built_for("", 90));
}
