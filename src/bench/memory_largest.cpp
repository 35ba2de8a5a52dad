#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>

#include "bench/memory_runs.hpp"
#include "sherd/bench/largest.hpp"
#include "sherd/bench/memory.hpp"

namespace sherd::bench {
namespace {

using memory::Tier;

constexpr std::int64_t deepest = 1024;      // layers a run may have
constexpr double state_bytes = 2 + 4 + 12;  // bf16 parameter, fp32 gradient, AdamW

// Tiers beyond their limit; what is 0 is not stated: a resident run feeds through the host too.
std::int64_t exceeded(const ByTier& need, const ByTier& limits) {
  std::int64_t count = 0;
  for (Bytes ByTier::*tier : {&ByTier::device, &ByTier::host, &ByTier::file})
    count += limits.*tier > 0 && need.*tier > limits.*tier ? 1 : 0;
  return count;
}

// States alone are beyond everything there is: no need to plan.
bool hopeless(const model::Gpt2Config& network, const ByTier& limits, const Placing& placing) {
  const double devices = static_cast<double>(limits.device) * placing.ranks;
  const double beside = static_cast<double>(placing.home == Tier::host   ? limits.host
                                            : placing.home == Tier::file ? limits.file
                                                                         : 0);
  return parameters_of(network) * state_bytes > devices + beside;
}

// Bytes where the states of `home` live.
Bytes low(const ByTier& bytes, Tier home) { return home == Tier::host ? bytes.host : bytes.file; }

/// Needs by depth and fraction: they do not depend on limits.
class Needs {
 public:
  explicit Needs(Placing placing) : placing_(placing) {}

  LargestModel largest(const ByTier& limits) {
    const auto start = std::chrono::steady_clock::now();
    LargestModel best{limits, placing_, gpt2_of(0), 0, {}, 0};
    std::int64_t fits = 0, too_many = deepest + 1;
    while (too_many - fits > 1) {
      const std::int64_t layers = (fits + too_many) / 2;
      const std::optional<Placing> placing = fitting(layers, limits);
      (placing ? fits : too_many) = layers;
      if (!placing) continue;
      best.placing = *placing;
      best.network = gpt2_of(layers);
      best.parameters = parameters_of(best.network);
      best.need = at(layers, *placing);
    }
    best.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return best;
  }

 private:
  const ByTier& at(std::int64_t layers, const Placing& placing) {
    const auto key = std::pair(layers, placing.fraction);
    const auto known = found_.find(key);
    if (known != found_.end()) return known->second;
    return found_.emplace(key, need_of(gpt2_of(layers), placing)).first->second;
  }
  // All states beside the device; or, where these are too many and the device has room, as large a
  // part of them as their tier takes.
  std::optional<Placing> fitting(std::int64_t layers, const ByTier& limits) {
    Placing placing = placing_;
    if (hopeless(gpt2_of(layers), limits, placing)) return std::nullopt;
    const ByTier all = at(layers, placing);
    if (exceeded(all, limits) == 0) return placing;
    if (placing.home == Tier::device || all.device > limits.device) return std::nullopt;
    const double part = static_cast<double>(low(limits, placing.home)) /
                        static_cast<double>(low(all, placing.home));
    for (double steps = std::floor(part * fractions), left = 3; steps > 0 && left > 0;
         --steps, --left) {
      placing.fraction = std::min(1.0, steps / fractions);
      if (exceeded(at(layers, placing), limits) == 0) return placing;
    }
    return std::nullopt;
  }

  static constexpr double fractions = 32;
  Placing placing_;
  std::map<std::pair<std::int64_t, double>, ByTier> found_;
};

}  // namespace

model::Gpt2Config gpt2_of(std::int64_t layers) {
  const auto depth = static_cast<double>(layers);
  const double width = std::max(512 + 64 * depth / 3, 100 * depth / 3);
  const auto heads = static_cast<std::int64_t>(std::ceil(width / 64 - 1e-9));
  return {.layers = layers,
          .heads = heads,
          .width = 64 * heads,
          .ffn_width = 256 * heads,
          .vocab_size = 50257,
          .context = 1024};
}

double parameters_of(const model::Gpt2Config& c) {
  const auto width = static_cast<double>(c.width), ffn = static_cast<double>(c.ffn_width);
  const double layer = 4 * width * width + 2 * width * ffn + 9 * width + ffn;
  return static_cast<double>(c.vocab_size + c.context) * width +
         static_cast<double>(c.layers) * layer + 2 * width;
}

std::string Placing::name() const {
  const std::string where = home == Tier::device ? "resident" : std::string(memory::name_of(home));
  return ranks == 1 ? where + ", 1 rank" : fmt::format("{}, stage 3 on {} ranks", where, ranks);
}

ByTier need_of(const model::Gpt2Config& network, const Placing& placing) {
  launch::RunConfig config;
  config.model.model = "gpt2-124m";
  config.model.layers = network.layers;
  config.model.heads = network.heads;
  config.model.width = network.width;
  config.batch.micro_batch = 1;
  config.ranks.device = "cuda";
  config.ranks.threads = 1;
  config.ranks.ranks = placing.ranks;
  config.sharding.zero_stage = placing.ranks > 1 ? 3 : 0;
  config.precision.precision = optim::Precision::bf16;
  config.memory.recompute = plan::Recompute::block;
  if (placing.home != Tier::device) {
    const auto home = placing.home == Tier::host ? plan::Offload::host : plan::Offload::file;
    config.memory.offload_optimizer = config.memory.offload_params = home;
    config.memory.offload_activations = plan::OffloadActivations::host;
    config.memory.offload_tile = 1 << 22;
    config.memory.offload_fraction = placing.fraction;
  }
  if (placing.home == Tier::file) config.file_tier.offload_dir = ".";  // a plan opens none
  const plan::Plan plan = plan_of(config);
  const auto ranks = static_cast<Bytes>(placing.ranks);
  return {plan.need(Tier::device), plan.need(Tier::host) * ranks, plan.need(Tier::file) * ranks};
}

std::vector<LargestModel> largest_models(bool quick, const Say& say) {
  const std::vector<Bytes> devices =
      quick ? std::vector<Bytes>{4, 24} : std::vector<Bytes>{4, 8, 24, 80};
  const std::vector<Bytes> hosts = quick ? std::vector<Bytes>{32} : std::vector<Bytes>{32, 256};
  const Bytes file = (quick ? 128 : 1024) * gib;
  std::vector<LargestModel> all;
  for (const Tier home : {Tier::device, Tier::host, Tier::file}) {
    for (const int ranks : {1, 8}) {
      Needs needs({ranks, home, 1});
      say("largest model, " + Placing{ranks, home, 1}.name());
      for (const Bytes device : devices) {
        if (home == Tier::device) all.push_back(needs.largest({device * gib, 0, 0}));
        for (const Bytes host : hosts) {
          if (home != Tier::device)
            all.push_back(needs.largest({device * gib, host * gib, home == Tier::file ? file : 0}));
        }
      }
    }
  }
  return all;
}

Row row_of(const LargestModel& one) {
  double full = 0;  // of the tier that has least left
  for (Bytes ByTier::*tier : {&ByTier::device, &ByTier::host, &ByTier::file}) {
    const auto need = static_cast<double>(one.need.*tier),
               limit = static_cast<double>(one.limits.*tier);
    if (limit > 0) full = std::max(full, need / limit);
  }
  const double need = static_cast<double>(one.need.device) * one.placing.ranks +
                      static_cast<double>(one.need.host + one.need.file);
  const double seconds = std::max(one.seconds, 1e-9);
  Row row{.name = "largest " + one.placing.name(),
          .time = summarize({seconds}),
          .unit = Work::held,
          .work = need,
          .bound_name = "as if the fullest tier were full",
          .bound = full > 0 ? need / full / seconds : 0,
          .wrong = exceeded(one.need, one.limits),
          .extra = {{"parameters", one.parameters},
                    {"fraction", one.placing.home == Tier::device ? 0 : one.placing.fraction},
                    {"layers", one.network.layers},
                    {"width", one.parameters > 0 ? one.network.width : 0}}};
  const auto add = [&](const char* name, const ByTier& bytes) {
    row.extra.emplace_back(std::string(name) + "_device", static_cast<std::int64_t>(bytes.device));
    row.extra.emplace_back(std::string(name) + "_host", static_cast<std::int64_t>(bytes.host));
    row.extra.emplace_back(std::string(name) + "_file", static_cast<std::int64_t>(bytes.file));
  };
  add("limit", one.limits);
  add("need", one.need);
  return row;
}

}  // namespace sherd::bench
