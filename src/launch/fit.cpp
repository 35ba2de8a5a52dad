#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "sherd/base/errors.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/launch/machine.hpp"

namespace sherd::launch {
namespace {

// Changes that save memory and keep the global batch, mildest first; each goes on from the one
// before it.
struct Change {
  std::string flags;
  RunConfig config;
};

std::vector<Change> changes(const RunConfig& from) {
  std::vector<Change> found;
  RunConfig config = from;
  std::vector<std::string> flags;
  const auto keep = [&](const char* flag, const std::string& value) {
    const std::string prefix = std::string(flag) + " ";
    std::erase_if(flags, [&](const std::string& f) { return f.rfind(prefix, 0) == 0; });
    flags.push_back(prefix + value);
    std::string all;
    for (const std::string& f : flags) all += (all.empty() ? "" : " ") + f;
    found.push_back({all, config});
  };
  for (int stage = config.sharding.zero_stage + 1; stage <= 3 && config.ranks.ranks > 1; ++stage) {
    config.sharding.zero_stage = stage;
    keep("--zero-stage", std::to_string(stage));
  }
  if (config.memory.recompute == plan::Recompute::none) {
    config.memory.recompute = plan::Recompute::selective;
    keep("--recompute", "selective");
  }
  if (config.memory.recompute == plan::Recompute::selective) {
    config.memory.recompute = plan::Recompute::block;
    keep("--recompute", "block");
  }
  while (config.batch.micro_batch % 2 == 0) {
    config.batch.micro_batch /= 2;
    config.batch.grad_accum *= 2;
    flags.push_back(fmt::format("--grad-accum {}", config.batch.grad_accum));
    std::erase_if(flags, [&](const std::string& f) {
      return f.rfind("--grad-accum ", 0) == 0 &&
             f != fmt::format("--grad-accum {}", config.batch.grad_accum);
    });
    keep("--micro-batch", std::to_string(config.batch.micro_batch));
  }
  if (config.precision.precision == optim::Precision::fp32 &&
      config.precision.grad_dtype == optim::GradDType::fp32) {
    config.precision.precision = optim::Precision::bf16;
    keep("--precision", "bf16");
  }
  if (config.sharding.reduce_order == plan::ReduceOrder::fast &&
      config.precision.grad_dtype == optim::GradDType::fp32) {
    config.precision.grad_dtype = optim::GradDType::bf16;
    keep("--grad-dtype", "bf16");
  }
  return found;
}

bool fits(const plan::Plan& plan, const Limits& limits, int world) {
  const Bytes host = plan.need(memory::Tier::host) * static_cast<Bytes>(world);
  return plan.need(memory::Tier::device) <= limits.device && host <= limits.host;
}

}  // namespace

Limits limits_of(const Validated& run) {
  const Bytes free = free_memory();
  Limits limits{run->memory.memory_limit, run->memory.host_memory_limit};
  if (limits.device == 0) limits.device = free / static_cast<Bytes>(run->ranks.ranks);
  if (limits.host == 0) limits.host = free;
  return limits;
}

void require_fit(const Validated& run, const Job& job, const plan::Plan& plan) {
  const int world = run->ranks.ranks;
  const Limits limits = limits_of(run);
  if (fits(plan, limits, world)) return;
  const Bytes need = plan.need(memory::Tier::device);
  std::string text =
      fmt::format("this run needs {} ({} bytes) a rank, but {} ({} bytes) are {}",
                  format_bytes(need), need, format_bytes(limits.device), limits.device,
                  run->memory.memory_limit > 0 ? "allowed by --memory-limit" : "free");
  for (const Change& change : changes(*run)) {
    const Prepared other = prepare(resolve(change.config, Purpose::plan), job, 0);
    if (!fits(other.plan, limits, world)) continue;
    throw CapacityError(text + fmt::format("\nfits: {}  (needs {} a rank)", change.flags,
                                           format_bytes(other.plan.need(memory::Tier::device))));
  }
  if (limits.device >= need)
    text += fmt::format("; host memory: {} allowed", format_bytes(limits.host));
  throw CapacityError(text +
                      "\nno combination of stage, recompute, micro-batch and precision fits; use "
                      "more --ranks or a smaller network");
}

}  // namespace sherd::launch
