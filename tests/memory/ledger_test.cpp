#include "sherd/memory/ledger.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace sherd {
namespace {

using memory::Entry;
using memory::Ledger;
using memory::Tier;
using memory::TierUse;
using memory::Use;

constexpr Tier device = Tier::device;

Bytes of(const std::array<Bytes, memory::uses>& bytes, Use use) {
  return bytes[static_cast<std::size_t>(use)];
}
Bytes sum(const std::array<Bytes, memory::uses>& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), Bytes{0});
}

// Four steps: weights all the time, x in 0..1, y in 1..2, z in 3 where x was.
std::vector<Entry> entries() {
  return {{device, Use::params, 0, 0, 3, true},
          {device, Use::activations, 256, 0, 1, false},
          {device, Use::comm, 512, 1, 2, false},
          {device, Use::activations, 256, 3, 3, false}};
}

void touch_all(Ledger& ledger, std::size_t program) {
  const Bytes ends[] = {200, 100, 300, 150};
  for (std::size_t b = 0; b < 4; ++b) ledger.touch(program, b, ends[b]);
}

}  // namespace

TEST_CASE("a ledger nobody touched measures nothing") {
  Ledger ledger;
  ledger.add(entries(), 4);
  const TierUse use = ledger.measured(device);
  CHECK(use.arena == 0);
  CHECK(sum(use.peak) == 0);
  CHECK(sum(use.persistent) == 0);
  CHECK(ledger.changes() == 0);
}

TEST_CASE("the peak is the step where most touched bytes live, by use") {
  Ledger ledger;
  touch_all(ledger, ledger.add(entries(), 4));
  const TierUse use = ledger.measured(device);
  CHECK(of(use.peak, Use::params) == 200);  // step 1: 200 + 100 + 300
  CHECK(of(use.peak, Use::activations) == 100);
  CHECK(of(use.peak, Use::comm) == 300);
  CHECK(of(use.persistent, Use::params) == 200);
  CHECK(sum(use.persistent) == 200);
  CHECK(use.arena == 812);
}

TEST_CASE("touches count by their highest byte, however often and in whatever order") {
  Ledger ledger;
  const std::size_t program = ledger.add(entries(), 4);
  touch_all(ledger, program);
  const std::uint64_t changes = ledger.changes();
  touch_all(ledger, program);
  ledger.touch(program, 2, 10);
  CHECK(ledger.changes() == changes);
  CHECK(ledger.measured(device).arena == 812);
}

TEST_CASE("a step that touches more than before shows in arena, peak and persistent bytes") {
  Ledger ledger;
  const std::size_t program = ledger.add(entries(), 4);
  touch_all(ledger, program);
  const std::uint64_t changes = ledger.changes();
  ledger.touch(program, 2, 301);
  CHECK(ledger.changes() == changes + 1);
  CHECK(ledger.measured(device).arena == 813);
  CHECK(of(ledger.measured(device).peak, Use::comm) == 301);
  ledger.touch(program, 0, 240);
  CHECK(of(ledger.measured(device).persistent, Use::params) == 240);
}

TEST_CASE("programs share an arena: the larger one counts, and persistent bytes count once") {
  Ledger ledger;
  touch_all(ledger, ledger.add(entries(), 4));
  const std::size_t small = ledger.add(
      {{device, Use::params, 0, 0, 0, true}, {device, Use::activations, 256, 0, 0, false}}, 1);
  ledger.touch(small, 0, 200);
  ledger.touch(small, 1, 399);
  const TierUse use = ledger.measured(device);
  CHECK(sum(use.peak) == 600);  // the first program's: 600 against 599
  CHECK(of(use.persistent, Use::params) == 200);
  CHECK(use.arena == 812);
  ledger.touch(small, 1, 402);
  CHECK(sum(ledger.measured(device).peak) == 602);
  CHECK(of(ledger.measured(device).peak, Use::comm) == 0);
}

TEST_CASE("tiers are measured apart") {
  Ledger ledger;
  const std::size_t program = ledger.add(
      {{device, Use::params, 0, 0, 0, true}, {Tier::host, Use::optimizer, 256, 0, 0, true}}, 1);
  ledger.touch(program, 0, 10);
  ledger.touch(program, 1, 20);
  CHECK(ledger.measured(device).arena == 10);
  CHECK(ledger.measured(Tier::host).arena == 276);
  CHECK(of(ledger.measured(Tier::host).peak, Use::optimizer) == 20);
  CHECK(sum(ledger.measured(Tier::file).peak) == 0);
}

}  // namespace sherd
