#include "launch/search_space.hpp"

#include <algorithm>

#include "sherd/launch/field.hpp"

namespace sherd::launch {
namespace {

using plan::Offload;
using plan::OffloadOr;

constexpr std::int64_t percents[] = {100, 75, 50, 25};

bool always(const RunConfig&) { return true; }
bool shares(const RunConfig& c) { return c.ranks.ranks > 1; }
bool has_master(const RunConfig& c) { return c.precision.precision != optim::Precision::fp32; }
bool moves_optimizer(const RunConfig& c) { return c.memory.offload_optimizer != Offload::none; }
bool moves(const RunConfig& c) { return plan::offloads_state(c.memory); }
bool gathers(const RunConfig& c) {
  return (shares(c) && c.sharding.zero_stage == 3) || c.memory.offload_params != Offload::none;
}

struct Text {
  std::string operator()(const Choice& choice) const {
    return std::string(choice.names[*choice.index]);
  }
  std::string operator()(const double* value) const { return shortest(*value); }
  std::string operator()(const std::string* value) const { return *value; }
  std::string operator()(const std::vector<std::string>* values) const {
    std::string all;
    for (const std::string& value : *values) all += value + " ";
    return all;
  }
  template <class Whole>
  std::string operator()(const Whole* value) const {
    return std::to_string(*value);
  }
};

std::vector<std::string> texts(RunConfig& config) {
  std::vector<std::string> all;
  for (const Field& field : describe(config)) all.push_back(std::visit(Text{}, field.slot));
  return all;
}

}  // namespace

SearchSpace::SearchSpace(const Validated& run, const SearchOptions& options)
    : asked_(run.asked()),
      reduce_(run->sharding.reduce_every),
      keeps_numerics_(!options.may_change_numerics),
      given_(options.given) {
  asked_.batch = run->batch;
  add_sharding(run);
  add_placements(options);
  if (options.may_change_numerics) add_batch();
}

void SearchSpace::add(Dimension dimension, std::int64_t asked) {
  if (std::find(given_.begin(), given_.end(), dimension.key) != given_.end()) return;
  std::erase(dimension.values, asked);
  dimension.values.insert(dimension.values.begin(), asked);
  if (dimension.values.size() > 1) dimensions_.push_back(std::move(dimension));
}

void SearchSpace::add_sharding(const Validated& run) {
  const plan::ShardingConfig& now = asked_.sharding;
  add({"zero_stage",
       {0, 1, 2, 3},
       [](RunConfig& c, std::int64_t v) { c.sharding.zero_stage = static_cast<int>(v); },
       shares},
      now.zero_stage);
  add({"recompute",
       {0, 1, 2},
       [](RunConfig& c, std::int64_t v) { c.memory.recompute = static_cast<plan::Recompute>(v); },
       always},
      static_cast<std::int64_t>(asked_.memory.recompute));
  const bool in_key = keeps_numerics_ && run->ranks.backend == comm::Backend::nccl;
  if (!in_key) {
    add({"bucket_bytes",
         {1 * mib, 4 * mib, 16 * mib, 64 * mib},
         [](RunConfig& c, std::int64_t v) { c.sharding.bucket_bytes = static_cast<Bytes>(v); },
         [](const RunConfig& c) { return shares(c) || moves(c); }},
        static_cast<std::int64_t>(now.bucket_bytes));
  }
  add({"prefetch",
       {0, 1, 2, 4},
       [](RunConfig& c, std::int64_t v) { c.sharding.prefetch = static_cast<int>(v); },
       gathers},
      now.prefetch);
}

void SearchSpace::add_placements(const SearchOptions& options) {
  const plan::MemoryConfig& now = asked_.memory;
  const bool files = options.limits.files > 0;
  std::vector<std::int64_t> places = {0, 1}, places_or = {0, 1, 2};  // (auto,) none, host
  if (files) places.push_back(2);
  if (files) places_or.push_back(3);
  add({"offload_optimizer", places,
       [](RunConfig& c, std::int64_t v) { c.memory.offload_optimizer = static_cast<Offload>(v); },
       always},
      static_cast<std::int64_t>(now.offload_optimizer));
  add({"offload_params", places,
       [](RunConfig& c, std::int64_t v) { c.memory.offload_params = static_cast<Offload>(v); },
       always},
      static_cast<std::int64_t>(now.offload_params));
  add({"offload_master", places_or,
       [](RunConfig& c, std::int64_t v) { c.memory.offload_master = static_cast<OffloadOr>(v); },
       [](const RunConfig& c) { return has_master(c) && moves_optimizer(c); }},
      static_cast<std::int64_t>(now.offload_master));
  add({"offload_grads", places_or,
       [](RunConfig& c, std::int64_t v) { c.memory.offload_grads = static_cast<OffloadOr>(v); },
       always},
      static_cast<std::int64_t>(now.offload_grads));
  add({"offload_activations",
       {0, 1},
       [](RunConfig& c, std::int64_t v) {
         c.memory.offload_activations = static_cast<plan::OffloadActivations>(v);
       },
       always},
      static_cast<std::int64_t>(now.offload_activations));
  add({"offload_fraction",
       {std::begin(percents), std::end(percents)},
       [](RunConfig& c, std::int64_t v) {
         c.memory.offload_fraction = static_cast<double>(v) / 100;
       },
       moves},
      100);
  add({"update_on",
       {0, 1},
       [](RunConfig& c, std::int64_t v) { c.memory.update_on = static_cast<plan::UpdateOn>(v); },
       moves_optimizer},
      static_cast<std::int64_t>(now.update_on));
}

// Divisors of the micro-batch, and what multiplies it out of the accumulation.
void SearchSpace::add_batch() {
  const std::int64_t all = asked_.batch.micro_batch * asked_.batch.grad_accum;
  std::vector<std::int64_t> micros;
  for (std::int64_t micro = 1; micro <= all; ++micro)
    if (all % micro == 0) micros.push_back(micro);
  for (const char* key : {"micro_batch", "grad_accum"})
    if (std::find(given_.begin(), given_.end(), key) != given_.end()) return;
  add({"micro_batch", micros,
       [](RunConfig& c, std::int64_t v) {
         c.batch.grad_accum = c.batch.micro_batch * c.batch.grad_accum / v;
         c.batch.micro_batch = v;
       },
       always},
      asked_.batch.micro_batch);
}

double SearchSpace::combinations() const {
  double all = 1;
  for (const Dimension& dimension : dimensions_)
    all *= static_cast<double>(dimension.values.size());
  return all;
}

Point SearchSpace::normal(Point point) const {
  // What decides whether another dimension matters may itself be put back: twice is enough, as
  // nothing depends on the dimensions that depend on others.
  for (int round = 0; round < 2; ++round) {
    const RunConfig config = at(point);
    for (std::size_t d = 0; d < point.size(); ++d)
      if (!dimensions_[d].matters(config)) point[d] = 0;
  }
  return point;
}

RunConfig SearchSpace::at(const Point& point) const {
  RunConfig config = asked_;
  for (std::size_t d = 0; d < point.size(); ++d)
    if (point[d] > 0) dimensions_[d].set(config, dimensions_[d].values[point[d]]);
  if (keeps_numerics_) keep_reduce(config);
  if (plan::offloads_to_files(config.memory) && config.file_tier.offload_dir.empty())
    config.file_tier.offload_dir = "DIR";  // for the user to fill in
  return config;
}

// `auto` would follow the stage, and sums with it.
void SearchSpace::keep_reduce(RunConfig& config) const {
  plan::ShardingConfig& sharding = config.sharding;
  if (sharding.reduce_every != plan::ReduceEvery::automatic) return;
  const bool same = plan::reduces_every_micro(sharding) == (reduce_ == plan::ReduceEvery::micro);
  if (!same && config.batch.grad_accum > 1) sharding.reduce_every = reduce_;
}

std::string SearchSpace::flags(const RunConfig& config) const {
  RunConfig from = asked_, to = config;
  const std::vector<Field> fields = describe(to);
  const std::vector<std::string> before = texts(from), after = texts(to);
  std::string all;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    if (before[f] == after[f]) continue;
    all += (all.empty() ? "" : " ") + flag_of(fields[f].key) + " " + after[f];
  }
  return all;
}

std::vector<std::string> given_keys(const RunConfig& config,
                                    const std::vector<std::string>& arguments) {
  RunConfig usual, asked = config;
  const std::vector<Field> fields = describe(asked);
  const std::vector<std::string> before = texts(usual), after = texts(asked);
  std::vector<std::string> keys;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    const std::string flag = flag_of(fields[f].key);
    const auto names_it = [&](const std::string& word) {
      return word == flag || word.starts_with(flag + "=");
    };
    if (before[f] != after[f] || std::any_of(arguments.begin(), arguments.end(), names_it))
      keys.emplace_back(fields[f].key);
  }
  return keys;
}

}  // namespace sherd::launch
