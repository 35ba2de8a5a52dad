#include "sherd/base/philox.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

using namespace sherd;

TEST_CASE("Blocks equal the known answers of Random123") {
  // kat_vectors of the Random123 distribution, philox4x32 with 10 rounds.
  CHECK(philox_block({0, 0}, 0) == PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox_block({~0ull, ~0ull}, ~0ull) ==
        PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox_block({0x299f31d0a4093822u, 0x0370734413198a2eu}, 0x85a308d3243f6a88u) ==
        PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("Element i is word i mod 4 of block i div 4") {
  const Philox p{7, 11};
  for (std::uint64_t i = 0; i < 64; ++i) CHECK(philox_u32(p, i) == philox_block(p, i / 4)[i % 4]);
  CHECK(philox_u32(p, (std::uint64_t{1} << 40) + 3) == philox_block(p, std::uint64_t{1} << 38)[3]);
}

TEST_CASE("Streams differ by seed, purpose, every index of the path and its order") {
  std::set<std::uint64_t> first;
  const auto add = [&](Philox p) {
    first.insert((std::uint64_t{philox_u32(p, 0)} << 32) | philox_u32(p, 1));
  };
  std::size_t made = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (const Purpose purpose :
         {Purpose::init, Purpose::shuffle, Purpose::dropout, Purpose::gradient_rounding,
          Purpose::state_rounding, Purpose::sample}) {
      for (std::uint64_t a = 0; a < 8; ++a) {
        for (std::uint64_t b = 0; b < 8; ++b, ++made) add(philox(seed, purpose, {a, b}));
      }
      add(philox(seed, purpose, {}));
      add(philox(seed, purpose, {0}));
      made += 2;
    }
  }
  CHECK(first.size() == made);
}

TEST_CASE("Uniform numbers lie in the unit interval and have its moments") {
  const Philox p = philox(3, Purpose::init, {hash_name("wte")});
  constexpr int count = 1 << 16;
  double sum = 0, squares = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double u = philox_uniform(p, i);
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
    squares += u * u;
  }
  // Five standard errors; the numbers are fixed, so this either always holds or never.
  CHECK(std::abs(sum / count - 0.5) < 5 * std::sqrt(1.0 / 12 / count));
  CHECK(std::abs(squares / count - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / count));
}

TEST_CASE("The greatest word stays below one as a uniform number") {
  CHECK(static_cast<float>(0xffffffffu >> 8) * 0x1p-24f < 1.0f);
}

TEST_CASE("Names hash by FNV-1a") {
  CHECK(hash_name("") == 0xcbf29ce484222325u);  // vectors of the FNV reference
  CHECK(hash_name("a") == 0xaf63dc4c8601ec8cu);
  CHECK(hash_name("foobar") == 0x85944171f73967e8u);
}
