#include "bench/memory_runs.hpp"

#include <algorithm>

#include "sherd/launch/field.hpp"

namespace sherd::bench {
namespace {

using launch::RunConfig;
using plan::Offload;

std::vector<std::string> values_of(const launch::Field& field) {
  return std::visit(
      [](const auto& slot) -> std::vector<std::string> {
        using Slot = std::decay_t<decltype(slot)>;
        if constexpr (std::is_same_v<Slot, launch::Choice>) {
          return {std::string(slot.names[*slot.index])};
        } else if constexpr (std::is_same_v<Slot, std::vector<std::string>*>) {
          return *slot;
        } else if constexpr (std::is_same_v<Slot, std::string*>) {
          return {*slot};
        } else if constexpr (std::is_same_v<Slot, double*>) {
          return {launch::shortest(*slot)};
        } else {
          return {std::to_string(*slot)};
        }
      },
      field.slot);
}

void keep_on_file(RunConfig& config, const std::string& folder) {
  config.memory.offload_optimizer = Offload::file;
  config.file_tier.offload_dir = folder;
  config.file_tier.offload_dir_any = true;  // bytes are compared here, not speed
}

}  // namespace

std::vector<PlacedStates> placements(optim::Precision precision, const std::string& folder) {
  const auto host = [](RunConfig& c) { c.memory.offload_optimizer = Offload::host; };
  const auto split = [host](RunConfig& c) {
    host(c);
    c.precision.master = optim::Master::split;
  };
  const auto all_on_file = [folder](RunConfig& c) {
    keep_on_file(c, folder);
    c.memory.offload_params = Offload::file;
    c.memory.offload_grads = plan::OffloadOr::file;
  };
  std::vector<PlacedStates> all = {
      {"resident", false, [](RunConfig&) {}},
      {"optimizer host", false, host},
      {"optimizer file", false, [folder](RunConfig& c) { keep_on_file(c, folder); }},
      {"all states file", false, all_on_file},
      {"half the optimizer host", false,
       [host](RunConfig& c) {
         host(c);
         c.memory.offload_fraction = 0.5;
       }},
      {"activations host", false,
       [](RunConfig& c) { c.memory.offload_activations = plan::OffloadActivations::host; }},
      {"int8 optimizer host", false,
       [host](RunConfig& c) {
         host(c);
         c.precision.moments = optim::Moments::int8;
       }},
      {"split optimizer host", true, split},
      {"split int8 optimizer file", true, [split, folder](RunConfig& c) {
         split(c);
         keep_on_file(c, folder);
         c.precision.moments = optim::Moments::int8;
       }}};
  std::erase_if(all, [&](const PlacedStates& one) {
    return one.half_only && precision != optim::Precision::bf16;
  });
  return all;
}

plan::Plan plan_of(const RunConfig& config) {
  const launch::Validated run = launch::resolve(config, launch::Purpose::plan);
  return launch::prepare(run, launch::zoo_job(run), 0).plan;
}

std::vector<std::string> flags_of(RunConfig config) {
  RunConfig usual;
  const std::vector<launch::Field> given = launch::describe(config),
                                   defaults = launch::describe(usual);
  std::vector<std::string> flags;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::vector<std::string> values = values_of(given[i]);
    if (values == values_of(defaults[i])) continue;
    flags.push_back(launch::flag_of(given[i].key));
    if (!std::holds_alternative<bool*>(given[i].slot))
      flags.insert(flags.end(), values.begin(), values.end());
  }
  return flags;
}

}  // namespace sherd::bench
