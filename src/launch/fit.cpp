#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/launch/machine.hpp"

namespace sherd::launch {
namespace {

// Changes that save memory, mildest first; each goes on from the one before it. Only the last
// resort, more ranks, may change the global batch.
struct Change {
  std::string flags;
  RunConfig config;
};

class Search {
 public:
  // From what was asked, so that the flags mean the same when they join the command line.
  explicit Search(const Validated& run) : config_(run.asked()) { config_.batch = run->batch; }

  std::vector<Change> all(int most_ranks) && {
    const RunConfig asked = config_;
    shard();
    recompute();
    offload();
    split_batch();
    narrow();
    spread(most_ranks);
    config_ = asked;
    flags_.clear();
    bring_back();
    return std::move(found_);
  }

 private:
  void set(const std::string& flag, std::int64_t value) { set(flag, std::to_string(value)); }
  void set(const std::string& flag, const std::string& value) {
    std::erase_if(flags_, [&](const std::string& f) { return f.starts_with(flag + " "); });
    flags_.push_back(flag + " " + value);
  }
  void keep() { found_.push_back({fmt::format("{}", fmt::join(flags_, " ")), config_}); }

  void shard() {
    while (config_.sharding.zero_stage < 3 && config_.ranks.ranks > 1) {
      set("--zero-stage", ++config_.sharding.zero_stage);
      keep();
    }
  }
  void recompute() {
    plan::Recompute& now = config_.memory.recompute;
    if (now == plan::Recompute::none) {
      now = plan::Recompute::selective;
      set("--recompute", "selective");
      keep();
    }
    if (now == plan::Recompute::selective) {
      now = plan::Recompute::block;
      set("--recompute", "block");
      keep();
    }
  }
  void offload() {
    plan::MemoryConfig& now = config_.memory;
    if (now.offload_optimizer == plan::Offload::none) {
      now.offload_optimizer = plan::Offload::host;
      set("--offload-optimizer", "host");
      keep();
    }
    if (now.offload_params == plan::Offload::none) {
      now.offload_params = plan::Offload::host;
      set("--offload-params", "host");
      keep();
    }
  }
  // Where the host or the disk is what lacks, the device may have the room.
  void bring_back() {
    plan::MemoryConfig& now = config_.memory;
    const auto back = [&](auto& place, const char* flag) {
      using Place = std::remove_reference_t<decltype(place)>;
      if (place != Place::host && place != Place::file) return;
      place = Place::none;
      set(flag, "none");
    };
    back(now.offload_grads, "--offload-grads");
    back(now.offload_params, "--offload-params");
    back(now.offload_master, "--offload-master");
    back(now.offload_moments, "--offload-moments");
    back(now.offload_optimizer, "--offload-optimizer");
    if (flags_.empty()) return;
    now.offload_fraction = 1;
    now.update_on = plan::UpdateOn::automatic;
    config_.file_tier = {};
    keep();
  }
  void split_batch() {
    data::BatchConfig& batch = config_.batch;
    for (std::int64_t factor = 2; batch.micro_batch > 1; ++factor) {
      for (; batch.micro_batch % factor == 0; keep()) {
        set("--micro-batch", batch.micro_batch /= factor);
        set("--grad-accum", batch.grad_accum *= factor);
      }
    }
  }
  void narrow() {
    optim::PrecisionConfig& now = config_.precision;
    if (now.grad_dtype != optim::GradDType::fp32) return;
    if (now.precision == optim::Precision::fp32) {
      now.precision = optim::Precision::bf16;
      set("--precision", "bf16");
      keep();
    }
    if (config_.sharding.reduce_order == plan::ReduceOrder::canonical) return;
    now.grad_dtype = optim::GradDType::bf16;
    set("--grad-dtype", "bf16");
    keep();
  }
  // More ranks help only where a rank's limit does not shrink with their number.
  void spread(int most_ranks) {
    data::BatchConfig& batch = config_.batch;
    int& ranks = config_.ranks.ranks;
    if (config_.memory.memory_limit == 0) return;
    while (ranks * 2 <= most_ranks) {
      set("--ranks", ranks *= 2);
      set("--zero-stage", config_.sharding.zero_stage = 3);
      if (batch.grad_accum % 2 == 0) {
        set("--grad-accum", batch.grad_accum /= 2);
      } else {
        set("--global-batch", batch.global_batch *= 2);
      }
      keep();
    }
  }

  RunConfig config_;
  std::vector<std::string> flags_;
  std::vector<Change> found_;
};

// Every tier that is too small, with the flag or the fact that says so.
std::string shortage(const Validated& run, const plan::Plan& plan, const Limits& limits) {
  const Limits needs = needs_of(plan, run->ranks.ranks);
  std::vector<std::string> tiers;
  const auto compare = [&](const std::string& what, Bytes need, Bytes limit,
                           const std::string& by) {
    if (need <= limit) return;
    tiers.push_back(fmt::format("{} ({} bytes) {}, but {} ({} bytes) are {}", format_bytes(need),
                                need, what, format_bytes(limit), limit, by));
  };
  const auto source = [](bool stated, const char* flag) {
    return stated ? std::string("allowed by ") + flag : std::string("free");
  };
  const auto& [memory, tier] = std::pair(run->memory, run->file_tier);
  compare("a rank", needs.device, limits.device, source(memory.memory_limit > 0, "--memory-limit"));
  compare("of host memory in all", needs.host, limits.host,
          source(memory.host_memory_limit > 0, "--host-memory-limit"));
  compare("in files in all", needs.files, limits.files,
          source(tier.file_limit > 0, "--file-limit"));
  if (tiers.empty()) compare("of memory in all", needs.memory, limits.memory, "free");
  return fmt::format("this run needs {}", fmt::join(tiers, "; it needs "));
}

}  // namespace

Limits needs_of(const plan::Plan& plan, int ranks) {
  const auto all = static_cast<Bytes>(ranks);
  const Bytes device = plan.need(memory::Tier::device), host = plan.need(memory::Tier::host) * all;
  return {device, host, plan.need(memory::Tier::file) * all, device * all + host};
}

Limits limits_of(const Validated& run) {
  const Bytes free = free_memory();
  Limits limits{run->memory.memory_limit, run->memory.host_memory_limit, run->file_tier.file_limit};
  const Bytes of_device = run.on_device() ? std::numeric_limits<Bytes>::max()
                                          : free / static_cast<Bytes>(run->ranks.ranks);
  // A CPU's ranks and their host tier share what is free.
  if (limits.device == 0 && !run.on_device()) limits.memory = free;
  if (limits.device == 0) limits.device = of_device;
  if (limits.host == 0) limits.host = free;
  if (limits.files == 0) limits.files = std::numeric_limits<Bytes>::max();
  return limits;
}

void require_fit(const Validated& run, const Job& job, const plan::Plan& plan,
                 const Limits& limits) {
  const int world = run->ranks.ranks;
  if (within(needs_of(plan, world), limits)) return;
  const std::string text = shortage(run, plan, limits);
  constexpr std::uint64_t processes = 64;
  const auto most_ranks =
      static_cast<int>(job.train ? std::min(processes, job.train->samples()) : processes);
  for (const Change& change : Search(run).all(most_ranks)) {
    const Prepared other = prepare(resolve(change.config, Purpose::plan, run.devices()), job, 0);
    if (!within(needs_of(other.plan, change.config.ranks.ranks), limits)) continue;
    throw CapacityError(text + fmt::format("\nfits: {}  (needs {} a rank)", change.flags,
                                           format_bytes(other.plan.need(memory::Tier::device))));
  }
  throw CapacityError(
      text +
      "\nno combination of stage, recompute, placement, micro-batch, precision and ranks fits; "
      "use a shorter --seq-len or a smaller network");
}

}  // namespace sherd::launch
