#include "cli/report.hpp"

#include <numeric>

namespace sherd::cli {
namespace {

using memory::Tier;
using memory::Use;

TierBytes tier_bytes(Bytes arena, const plan::ByUse& by) {
  const auto of = [&](Use use) { return by[static_cast<std::size_t>(use)]; };
  TierBytes bytes;
  bytes.peak = arena;
  bytes.params = of(Use::params);
  bytes.grads = of(Use::grads);
  bytes.optimizer = of(Use::optimizer);
  bytes.activations = of(Use::activations);
  bytes.comm = of(Use::comm);
  bytes.staging = of(Use::staging);
  bytes.control = of(Use::control);
  bytes.unused = arena - std::accumulate(by.begin(), by.end(), Bytes{0});
  return bytes;
}

TierBytes operator+(TierBytes one, const TierBytes& other) {
  for (const BytesColumn& column : bytes_columns) one.*column.member += other.*column.member;
  return one;
}

}  // namespace

MemoryTable planned_table(const plan::Plan& plan) {
  const auto tier = [&](Tier t) {
    const auto i = static_cast<std::size_t>(t);
    return tier_bytes(plan.memory.arena[i], plan.memory.peak[i]);
  };
  MemoryTable table{tier(Tier::device), tier(Tier::host) + tier(Tier::pinned), tier(Tier::file)};
  table.device.runtime = plan.runtime;
  return table;
}

MemoryTable measured_table(const memory::Ledger& ledger, Bytes runtime) {
  const auto tier = [&](Tier t) {
    const memory::TierUse use = ledger.measured(t);
    return tier_bytes(use.arena, use.peak);
  };
  MemoryTable table{tier(Tier::device), tier(Tier::host) + tier(Tier::pinned), tier(Tier::file)};
  table.device.runtime = runtime;
  return table;
}

}  // namespace sherd::cli
