// Chooses what `auto` stands for, with the devices of the machine at hand.
#include <algorithm>
#include <charconv>

#include "sherd/base/errors.hpp"
#include "sherd/launch/devices.hpp"
#include "sherd/launch/machine.hpp"
#include "sherd/launch/run_config.hpp"

namespace sherd::launch {
namespace {

using Problems = std::vector<std::string>;

void check_devices(const RunConfig& config, const Devices& devices, Problems& problems) {
  const DeviceChoice choice = *parse_device(config.ranks.device);
  if (choice.kind == DeviceKind::cpu || (!choice.kind && devices.count == 0)) {
    if (config.ranks.backend == comm::Backend::nccl)
      problems.push_back("--backend: nccl needs a GPU, and none works: " + devices.why_none);
    return;
  }
  std::string problem = device_problem(config.ranks.device, devices);
  if (!problem.empty()) problems.push_back(std::move(problem));
  if (devices.count == 0) return;
  if (config.ranks.backend != comm::Backend::nccl) return;
  if (!devices.why_no_nccl.empty()) problems.push_back("--backend: " + devices.why_no_nccl);
  if (config.ranks.ranks > devices.count) {
    problems.push_back("--backend: nccl needs a device for each of " +
                       std::to_string(config.ranks.ranks) + " ranks, and there are " +
                       std::to_string(devices.count) + "; --backend local lets ranks share one");
  }
}

void check_cores(const comm::RanksConfig& ranks, Problems& problems) {
  const int cores = usable_cores(), needed = ranks.ranks * std::max(1, ranks.threads);
  if (!ranks.pin_threads || needed <= cores) return;
  problems.push_back("--pin-threads: " + std::to_string(ranks.ranks) + " ranks of " +
                     std::to_string(std::max(1, ranks.threads)) + " threads need " +
                     std::to_string(needed) + " cores, and this process may use " +
                     std::to_string(cores) + "; lower --threads or --ranks, or leave it off");
}

// NCCL where it can serve; ranks that share a device, or an order that is ours, take `local`.
comm::Backend choose_backend(const RunConfig& config, const Devices& devices) {
  const bool own_devices = config.ranks.ranks > 1 && config.ranks.ranks <= devices.count &&
                           !parse_device(config.ranks.device)->index;
  const bool our_order = config.sharding.reduce_order == plan::ReduceOrder::canonical ||
                         config.precision.grad_dtype == optim::GradDType::bf16;
  const bool nccl =
      config.ranks.device != "cpu" && own_devices && !our_order && devices.why_no_nccl.empty();
  return nccl ? comm::Backend::nccl : comm::Backend::local;
}

}  // namespace

std::optional<DeviceChoice> parse_device(std::string_view text) {
  if (text == "auto") return DeviceChoice{};
  if (text == "cpu") return DeviceChoice{DeviceKind::cpu, {}};
  if (text == "cuda") return DeviceChoice{DeviceKind::cuda, {}};
  constexpr std::string_view prefix = "cuda:";
  if (text.substr(0, prefix.size()) != prefix) return std::nullopt;
  const std::string_view digits = text.substr(prefix.size());
  int index = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc{} || end != digits.data() + digits.size() || index < 0 || index > 63)
    return std::nullopt;
  return DeviceChoice{DeviceKind::cuda, index};
}

int Validated::device_of(Rank rank) const {
  if (!on_device()) return -1;
  const DeviceChoice choice = *parse_device(config_.ranks.device);
  return choice.index.value_or(devices_.count > 0 ? rank % devices_.count : rank);
}

Validated resolve(RunConfig config, Purpose purpose, Devices devices) {
  Problems problems = check(config, purpose);
  if (problems.empty() && purpose == Purpose::train) {
    check_devices(config, devices, problems);
    check_cores(config.ranks, problems);
  }
  if (!problems.empty()) throw ConfigError(std::move(problems));
  RunConfig asked = config;
  config.batch = resolve_batch(config.batch, config.ranks.ranks).batch;
  if (config.ranks.device == "auto") config.ranks.device = devices.count > 0 ? "cuda" : "cpu";
  if (config.ranks.backend == comm::Backend::automatic)
    config.ranks.backend = choose_backend(config, devices);
  plan::ShardingConfig& sharding = config.sharding;
  if (sharding.reduce_every == plan::ReduceEvery::automatic) {
    const bool micro =
        sharding.zero_stage >= 2 || sharding.reduce_order == plan::ReduceOrder::canonical;
    sharding.reduce_every = micro ? plan::ReduceEvery::micro : plan::ReduceEvery::step;
  }
  return {std::move(asked), std::move(config), std::move(devices)};
}

}  // namespace sherd::launch
