#include "sherd/engine/engine.hpp"

#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "engine/runner.hpp"
#include "engine/states.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"
#include "sherd/optim/schedule.hpp"

namespace sherd::engine {
namespace {

/// Makes bytes readable by the host between programs, where the sanitizer guards the arena.
class Opened {
 public:
  explicit Opened(std::span<std::byte> bytes, Lanes lanes)
      : bytes_(bytes), guarded_(poison_works() && lanes == Lanes::inlined) {
    if (guarded_) unpoison(bytes_);
  }
  ~Opened() {
    if (guarded_) poison(bytes_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  std::span<std::byte> bytes_;
  bool guarded_;
};

std::uint64_t slots_per_step(const plan::Setup& setup) {
  return static_cast<std::uint64_t>(setup.model.rows.rows) * setup.grad_accum *
         static_cast<std::uint64_t>(setup.world());
}

}  // namespace

struct Engine::State {
  explicit State(EngineParts given)
      : parts(std::move(given)),
        decide(optim::decide_config(parts.precision, parts.optimizer, nominal_tokens())),
        compute(parts.threads),
        net(1),
        sampler(parts.train.samples(), slots_per_step(parts.plan.setup), parts.seed),
        loader(parts.train, sampler, parts.plan.setup.model.rows.rows),
        runner({parts, parts.plan.train, loader, decide, compute, net_stream()}) {
    if (parts.plan.evaluate) prepare_evaluation();
    executor.emplace(Executor::Parts{parts.plan.train, runner, parts.arenas, ledger, parts.abort,
                                     parts.trace, parts.comm.rank()},
                     parts.lanes);
    control = find(parts.plan.train, "control").as<optim::Control>();
  }

  void prepare_evaluation() {
    const plan::Setup& setup = parts.plan.setup;
    const auto slots = static_cast<std::uint64_t>(setup.model.rows.rows * setup.world());
    const data::Sampler in_order(parts.validate->samples(), slots, parts.seed, false);
    eval_loader.emplace(*parts.validate, in_order, setup.model.rows.rows);
    eval_runner.emplace(
        Runner::Parts{parts, *parts.plan.evaluate, *eval_loader, decide, compute, net_stream()});
    eval_executor.emplace(Executor::Parts{*parts.plan.evaluate, *eval_runner, parts.arenas, ledger,
                                          parts.abort, parts.trace, parts.comm.rank()},
                          parts.lanes);
  }

  double nominal_tokens() const {
    const plan::Setup& setup = parts.plan.setup;
    const double labels =
        static_cast<double>(setup.sample.label_type == DType::i32 ? setup.sample.label_cols : 1);
    return static_cast<double>(slots_per_step(setup)) * labels;
  }
  device::Stream& net_stream() { return parts.lanes == Lanes::threads ? net : compute; }

  /// The first failure is everybody's: other lanes and ranks must not wait for what will not come.
  template <class Body>
  void guarded(Body&& body) {
    try {
      body();
    } catch (const std::exception& error) {
      parts.abort.set(exit_code(error),
                      "rank " + std::to_string(parts.comm.rank()) + ": " + error.what());
      throw;
    }
  }

  View find(const plan::Scheduled& scheduled, const std::string& name) const {
    return persistent_view(scheduled, parts.arenas, name);
  }
  std::span<std::byte> bytes_of(void* at, Bytes size) const {
    return {static_cast<std::byte*>(at), size};
  }

  EngineParts parts;
  optim::DecideConfig decide;
  memory::Ledger ledger;
  device::Stream compute, net;
  data::Sampler sampler;
  data::BatchLoader loader;
  Runner runner;
  std::optional<data::BatchLoader> eval_loader;
  std::optional<Runner> eval_runner;
  std::optional<Executor> executor, eval_executor;
  optim::Control* control = nullptr;
  std::uint64_t done = 0;
};

Engine::Engine(EngineParts parts) : state_(std::make_unique<State>(std::move(parts))) {}
Engine::~Engine() = default;

void Engine::initialise(const model::Weights& weights) {
  State& s = *state_;
  const Opened open(s.parts.arenas[0], s.parts.lanes);
  load_weights(s.parts.plan, s.parts.arenas, weights, s.compute);
  *s.control = optim::initial(s.parts.precision);
}

StepResult Engine::step(bool stop) {
  State& s = *state_;
  optim::Control before;
  {
    const Opened open(s.bytes_of(s.control, sizeof(optim::Control)), s.parts.lanes);
    before = *s.control;
  }
  Fed& fed = s.runner.fed;
  fed.lr = optim::learning_rate(s.parts.optimizer, before.applied, s.parts.total_steps);
  fed.bias1 = optim::bias_correction(s.parts.optimizer.beta1, before.applied);
  fed.bias2 = optim::bias_correction(s.parts.optimizer.beta2, before.applied);
  fed.stop = stop;
  s.guarded([&] { s.executor->run(s.done); });
  const Opened open(s.bytes_of(s.control, sizeof(optim::Control)), s.parts.lanes);
  const optim::Control& verdict = *s.control;
  ++s.done;
  StepResult result{s.done,
                    verdict.loss,
                    verdict.norm,
                    fed.lr,
                    verdict.used_scale,
                    static_cast<std::uint64_t>(verdict.tokens),
                    verdict.update.skip != 0,
                    verdict.skipped_in_row,
                    verdict.at_minimum != 0,
                    verdict.stop > 0};
  return result;
}

double Engine::evaluate() {
  State& s = *state_;
  expects(s.eval_executor.has_value(),
          "evaluate: the plan has no evaluation; give it validation data");
  s.guarded([&] {
    s.executor->drain();
    s.eval_executor->run(0);
    s.eval_executor->drain();
  });
  const View report = s.find(*s.parts.plan.evaluate, "eval.report");
  const Opened open(s.bytes_of(report.data, sizeof(optim::EvalReport)), s.parts.lanes);
  return report.as<optim::EvalReport>()->loss;
}

std::string Engine::parameters_hash() {
  State& s = *state_;
  s.executor->drain();
  const Opened open(s.parts.arenas[0], s.parts.lanes);
  const Digest own = digest_of(s.parts.plan, s.parts.arenas, s.compute);
  // The vote's buffers are idle between steps; they start the next one as they were: zero.
  const View local = s.find(s.parts.plan.train, "vote.local"),
             global = s.find(s.parts.plan.train, "vote.global");
  Digest sum = own;
  if (s.parts.comm.world() > 1) {
    const View in{local.data, {1, 2}, DType::i64}, out{global.data, {1, 2}, DType::i64};
    std::memcpy(in.data, own.data(), sizeof own);
    s.parts.comm.all_reduce(in, out, {"parameters hash"});
    std::memcpy(sum.data(), out.data, sizeof sum);
    std::memset(in.data, 0, sizeof own);
  }
  return fmt::format("{:016x}{:016x}", sum[0], sum[1]);
}

const memory::Ledger& Engine::ledger() const { return state_->ledger; }
const plan::Plan& Engine::plan() const { return state_->parts.plan; }
std::uint64_t Engine::steps() const { return state_->done; }

}  // namespace sherd::engine
