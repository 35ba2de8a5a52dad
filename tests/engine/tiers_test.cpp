// Where states live changes no bit: a run with everything on the device is compared with runs whose
// states are on host and file, wholly and by fraction, updated here and there. Each run holds what
// it was planned to in every tier, to the byte.
#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "support/placed_runs.hpp"

using namespace sherd;
using namespace sherd::test;

TEST_CASE("equal keys give equal bits wherever states live and updates run") {
  const TempFolder folder{std::filesystem::current_path()};
  for (const Formats& f : formats) {
    for (const int world : {1, 2, 3}) {
      const launch::RunConfig here = resident(f, world);
      const Bits expected = bits_of(here);
      for (std::uint64_t draw = 0; draw < SHERD_DRAWS; ++draw) {
        const launch::RunConfig config =
            moved(here, hash_name(f.name) + 8 * static_cast<std::uint64_t>(world) + draw * 1000,
                  folder.path());
        INFO(f.name << ", world " << world << ", draw " << draw << ": " << text_of(config));
        const Bits bits = bits_of(config);
        REQUIRE(bits.key == expected.key);
        REQUIRE(bits.numbers == expected.numbers);
        REQUIRE(bits.hash == expected.hash);
      }
    }
  }
}

TEST_CASE("a skipped step changes nothing wherever states live") {
  const TempFolder folder{std::filesystem::current_path()};
  launch::RunConfig here = resident(formats[8], 2);
  here.precision.loss_scale_init = 0x1p40;
  here.precision.loss_scale_hysteresis = 1;
  here.batch.steps = 4;
  for (const bool ends_skipped : {true, false}) {
    if (!ends_skipped) here.precision.loss_scale_init = 0x1p24;
    const Bits expected = bits_of(here);
    REQUIRE(expected.skipped > 0);
    CHECK((expected.skipped == 4) == ends_skipped);
    for (std::uint64_t draw = 0; draw < 10; ++draw) {
      const launch::RunConfig config = moved(here, 77 + draw * 1000, folder.path());
      INFO(text_of(config));
      const Bits bits = bits_of(config);
      REQUIRE(bits.skipped == expected.skipped);
      REQUIRE(bits.numbers == expected.numbers);
      REQUIRE(bits.hash == expected.hash);
    }
  }
}

TEST_CASE("a split master is the fp32 master, bit for bit") {
  for (const int world : {1, 2}) {
    launch::RunConfig config = resident(formats[2], world);
    const Bits expected = bits_of(config);
    config.precision.master = optim::Master::split;
    const Bits bits = bits_of(config);
    CHECK(bits.numbers == expected.numbers);
    CHECK(bits.hash == expected.hash);
  }
}

TEST_CASE("8-bit moments give one hash on 1, 2, 3 and 6 ranks under canonical sums") {
  std::optional<std::string> expected;
  for (const int world : {1, 2, 3, 6}) {
    launch::RunConfig config = resident(formats[6], world);
    config.sharding.reduce_order = plan::ReduceOrder::canonical;
    config.sharding.zero_stage = world == 1 ? 0 : 3;
    config.batch.grad_accum = 6 / world;
    config.memory.offload_moments = world == 2 ? plan::OffloadOr::none : plan::OffloadOr::host;
    const Bits bits = bits_of(config);
    if (!expected) expected = bits.hash;
    CHECK(bits.hash == *expected);
  }
}
