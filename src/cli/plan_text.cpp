#include "cli/plan_text.hpp"

#include <fmt/format.h>

#include "cli/report.hpp"
#include "sherd/cli/event_log.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd::cli {
namespace {

using memory::Use;

Bytes of(const plan::ByUse& bytes, Use use) { return bytes[static_cast<std::size_t>(use)]; }

std::string table(const MemoryTable& planned) {
  std::string text;
  for (const TierColumn& tier : tier_columns) {
    const TierBytes& of_tier = planned.*tier.member;
    if (tier.name != "device" && of_tier.peak == 0) continue;
    text += fmt::format("{:<14}{:>14}{:>16}\n", tier.name, "bytes", "");
    for (const BytesColumn& column : bytes_columns) {
      const Bytes bytes = of_tier.*column.member;
      if (bytes > 0)
        text += fmt::format("  {:<12}{:>14}{:>16}\n", column.name, bytes, format_bytes(bytes));
    }
  }
  return text;
}

std::string beside(const plan::Plan& plan) {
  const Bytes host = plan.need(memory::Tier::host), file = plan.need(memory::Tier::file);
  std::string text;
  if (host > 0) text += fmt::format("; {} of host memory", format_bytes(host));
  if (file > 0) text += fmt::format("; {} in files", format_bytes(file));
  return text;
}

// What a step carries between tiers; nothing where all is on the device.
std::string moves(const plan::Moves& moved) {
  if (moved.to_device + moved.from_device + moved.read + moved.written == 0) return {};
  return fmt::format(
      "moved a rank and step: to the device {}, from it {}; files: read {}, written {}\n",
      format_bytes(moved.to_device), format_bytes(moved.from_device), format_bytes(moved.read),
      format_bytes(moved.written));
}

std::string formula(const plan::Setup& setup) {
  const plan::Formats& f = setup.formats;
  const std::uint64_t trained = setup.model.trainable();
  const std::string frozen = trained == setup.model.parameters()
                                 ? ""
                                 : fmt::format("; g and o of {} trained ones{}", trained,
                                               f.packs_frozen ? ", p of the others 1.016" : "");
  return fmt::format(
      "state formula: p {} + g {} + o {:.4g} bytes a parameter, Ψ {} padded parameters ({} "
      "unpadded), "
      "N {}{}\n",
      f.param_bytes(), f.grad_bytes(), f.optimizer_bytes(), setup.layout.padded(),
      setup.model.parameters(), setup.world(), frozen);
}

// Sharding costs transient copies; on small or tied networks these can outweigh what it saves.
std::string against_lower_stage(const launch::Validated& run, const launch::Job& job,
                                const launch::Prepared& prepared) {
  if (run->sharding.zero_stage == 0 || run->ranks.ranks == 1) return {};
  launch::RunConfig lower = run.asked();
  --lower.sharding.zero_stage;
  const launch::Prepared other =
      launch::prepare(launch::resolve(lower, launch::Purpose::plan, run.devices()), job, 0);
  const Bytes here = prepared.plan.need(memory::Tier::device),
              there = other.plan.need(memory::Tier::device);
  if (here <= there) return {};
  return fmt::format(
      "note: stage {} needs {} more than stage {} here: its gathered copies are larger than what "
      "it saves\n",
      run->sharding.zero_stage, format_bytes(here - there), lower.sharding.zero_stage);
}

}  // namespace

std::string plan_text(const launch::Validated& run, const launch::Job& job,
                      const launch::Prepared& prepared, const plan::Machine& machine) {
  const plan::Plan& plan = prepared.plan;
  const plan::ByUse persistent = plan::persistent_bytes(plan.train.program);
  const plan::Wire wire = plan::wire_bytes(plan.train.program, plan.setup.world());
  const plan::Estimate estimate = plan::simulate(plan, machine);
  std::string text = fmt::format(
      "stage {}, {} rank{}, {} bucket{}, {} steps in the program, {} waits\n",
      run->sharding.zero_stage, plan.setup.world(), plan.setup.world() == 1 ? "" : "s",
      plan.setup.layout.buckets().size(), plan.setup.layout.buckets().size() == 1 ? "" : "s",
      plan.train.program.steps.size(), plan.train.waits.size());
  text += formula(plan.setup);
  text += table(planned_table(plan));
  text += fmt::format("persistent: params {}, grads {}, optimizer {}; transient peak {}\n",
                      format_bytes(of(persistent, Use::params)),
                      format_bytes(of(persistent, Use::grads)),
                      format_bytes(of(persistent, Use::optimizer)),
                      format_bytes(plan.memory.arena[0] - of(persistent, Use::params) -
                                   of(persistent, Use::grads) - of(persistent, Use::optimizer)));
  text += fmt::format("need: {} a rank ({} bytes: peak and runtime){}\n",
                      format_bytes(plan.need(memory::Tier::device)),
                      plan.need(memory::Tier::device), beside(plan));
  text +=
      fmt::format("wire bytes a rank and step: all-gather {}, reduce-scatter {}, all-reduce {}\n",
                  wire.all_gather, wire.reduce_scatter, wire.all_reduce);
  text += moves(plan::moved_bytes(plan.train.program));
  text +=
      fmt::format("step time: about {:.3g} s by the cost model (not measured), rates of {} ({})\n",
                  estimate.seconds, machine.name, plan::kind_of_rates(machine));
  return text + against_lower_stage(run, job, prepared);
}

std::string plan_json(const launch::Validated& run, const launch::Job& job,
                      const launch::Prepared& prepared, const plan::Machine& machine) {
  const plan::Plan& plan = prepared.plan;
  const plan::ByUse persistent = plan::persistent_bytes(plan.train.program);
  const plan::Wire wire = plan::wire_bytes(plan.train.program, plan.setup.world());
  const plan::Estimate estimate = plan::simulate(plan, machine);
  const plan::Moves moved = plan::moved_bytes(plan.train.program);
  const std::string key = launch::numerics_key(
      prepared, launch::first_weights(run, job, plan.setup.model)->fingerprint());
  return fmt::format(
      R"({{"plan":{},"persistent":{{"params":{},"grads":{},"optimizer":{}}},"need":{},"wire_bytes":{{"all_gather":{},"reduce_scatter":{},"all_reduce":{}}},"moved_bytes":{{"to_device":{},"from_device":{},"read":{},"written":{}}},"parameters":{},"padded_parameters":{},"world":{},"zero_stage":{},"numerics_key":"{}","step_seconds":{}}})",
      to_json(planned_table(plan)), of(persistent, Use::params), of(persistent, Use::grads),
      of(persistent, Use::optimizer), plan.need(memory::Tier::device), wire.all_gather,
      wire.reduce_scatter, wire.all_reduce, moved.to_device, moved.from_device, moved.read,
      moved.written, plan.setup.model.parameters(), plan.setup.layout.padded(), plan.setup.world(),
      run->sharding.zero_stage, key, estimate.seconds);
}

}  // namespace sherd::cli
