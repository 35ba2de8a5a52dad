#include "sherd/launch/rank_environment.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "sherd/launch/spawn.hpp"

namespace {

using namespace sherd::launch;

TEST_CASE("a rank environment survives its text") {
  const RankEnvironment seat{1, 3, 5, {6, 7, 18}, 8, 19};
  CHECK(format(seat) == "rank=1 world=3 control=5 arenas=6,7,18 pipe=8,19");
  CHECK(parse_rank(format(seat)) == seat);
}

TEST_CASE("a malformed rank environment is nothing") {
  for (const char* text :
       {"", "rank=1", "rank=1 world=3 control=5", "rank=1 world=3 control=5 arenas=6,7 pipe=8,9",
        "rank=1 world=3 control=5 arenas=6,7,8", "rank=1 world=3 control=5 arenas=6,7,8 pipe=9",
        "rank=1 world=3 control=5 arenas=6,7,8,9 pipe=1,2",
        "rank=1 world=3 control=5 arenas=6,7,8 pipe=9,-1",
        "rank=1 world=3 control=5 arenas=6,7,8 pipe=9,10 ",
        "rank=3 world=3 control=5 arenas=6,7,8 pipe=9,10",
        "rank=-1 world=1 control=5 arenas=6 pipe=9,10",
        "rank=0 world=0 control=5 arenas= pipe=9,10",
        "rank=0 world=65 control=5 arenas=6 pipe=9,10",
        "rank=0 world=1 control=x arenas=6 pipe=9,10",
        "rank=99999999999 world=1 control=5 arenas=6 pipe=9,10"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_rank(text));
  }
}

TEST_CASE("a rank's environment replaces what would disturb it and keeps the rest") {
  RankProgram program;
  program.environment = {"HOME=/root", "OMP_NUM_THREADS=8", "SHERD_RANK=stale", "OMP_X=1"};
  const std::vector<std::string> all = environment_for(program, {0, 1, 3, {4}, 5, 6});
  const auto count = [&](const std::string& one) {
    return std::count(all.begin(), all.end(), one);
  };
  CHECK(all.size() == 7);
  CHECK(count("GLIBC_TUNABLES=glibc.malloc.tcache_count=0") == 1);
  CHECK(count("HOME=/root") == 1);
  CHECK(count("OMP_X=1") == 1);
  CHECK(count("OMP_NUM_THREADS=1") == 1);
  CHECK(count("OMP_WAIT_POLICY=passive") == 1);
  CHECK(count("OMP_PROC_BIND=false") == 1);
  CHECK(count("SHERD_RANK=rank=0 world=1 control=3 arenas=4 pipe=5,6") == 1);
}

TEST_CASE("what a user tunes in the C library stays as it is") {
  const auto tuned = [](const std::string& given) {
    RankProgram program;
    program.environment = {"GLIBC_TUNABLES=" + given};
    const std::vector<std::string> all = environment_for(program, {0, 1, 3, {4}, 5, 6});
    const auto is = [](const std::string& one) { return one.starts_with("GLIBC_TUNABLES="); };
    REQUIRE(std::ranges::count_if(all, is) == 1);
    return *std::ranges::find_if(all, is);
  };
  CHECK(tuned("glibc.malloc.perturb=1") ==
        "GLIBC_TUNABLES=glibc.malloc.perturb=1:glibc.malloc.tcache_count=0");
  CHECK(tuned("glibc.malloc.tcache_count=7") == "GLIBC_TUNABLES=glibc.malloc.tcache_count=7");
}

}  // namespace
