#include "sherd/base/errors.hpp"

#include <doctest/doctest.h>

#include <new>

using namespace sherd;

TEST_CASE("Every kind of error has its documented exit code") {
  CHECK(exit_code(Error("x")) == 1);
  CHECK(exit_code(UsageError("x")) == 1);
  CHECK(exit_code(std::bad_alloc()) == 1);
  CHECK(exit_code(std::runtime_error("x")) == 1);
  CHECK(exit_code(ConfigError({"x"})) == 2);
  CHECK(exit_code(CapacityError("x")) == 3);
  CHECK(exit_code(DataError("x")) == 4);
  CHECK(exit_code(DeviceError("x")) == 5);
  CHECK(exit_code(CommError("x")) == 5);
  CHECK(exit_code(DivergedError("x")) == 6);
  CHECK(exit_code(Interrupted(2)) == 130);
  CHECK(exit_code(Interrupted(15)) == 143);
}

TEST_CASE("A configuration error lists every problem, one a line") {
  const ConfigError error({"--lr: got -1, need more than 0", "--ranks: got 0, need at least 1"});
  CHECK(error.problems.size() == 2);
  CHECK(std::string(error.what()) ==
        "--lr: got -1, need more than 0\n--ranks: got 0, need at least 1");
  CHECK(std::string(ConfigError({}).what()).empty());
}

TEST_CASE("A broken precondition throws its message and a kept one nothing") {
  CHECK_NOTHROW(expects(true, "call: got 1, need 2"));
  CHECK_THROWS_WITH_AS(expects(false, "call: got 1, need 2"), "call: got 1, need 2", UsageError);
}
