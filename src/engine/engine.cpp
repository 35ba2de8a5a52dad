#include "sherd/engine/engine.hpp"

#include <optional>
#include <utility>

#include "engine/runner.hpp"
#include "engine/snapshot.hpp"
#include "engine/states.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/poison.hpp"
#include "sherd/checkpoint/parameters_hash.hpp"
#include "sherd/optim/schedule.hpp"

namespace sherd::engine {
namespace {

/// Makes bytes readable by the host between programs, where the sanitizer guards the arena.
class Opened {
 public:
  Opened(std::span<std::byte> bytes, const EngineParts& parts)
      : bytes_(bytes),
        guarded_(poison_works() && parts.lanes == Lanes::inlined && parts.device == nullptr) {
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

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t slots_per_step(const plan::Setup& setup) {
  return static_cast<std::uint64_t>(setup.model.rows.rows) * setup.grad_accum *
         static_cast<std::uint64_t>(setup.world());
}

}  // namespace

struct Engine::State {
  explicit State(EngineParts given)
      : parts(std::move(given)),
        decide(optim::decide_config(parts.precision, parts.optimizer, nominal_tokens())),
        host(parts.threads, parts.cores),
        host_net(1),
        sampler(parts.train.samples(), slots_per_step(parts.plan.setup), parts.seed),
        loader(parts.train, sampler, parts.plan.setup.model.rows.rows) {
    if (parts.device != nullptr) device_compute.emplace(*parts.device);
    runner.emplace(runner_parts(parts.plan.train, loader));
    if (parts.plan.evaluate) prepare_evaluation();
    if (parts.plan.snapshot) prepare_saving();
    walk = make_walk(parts.plan.train, *runner);
    verdict = told<optim::Control>(parts.plan.train, "control", "host.control");
  }

  void prepare_evaluation() {
    const plan::Setup& setup = parts.plan.setup;
    const auto slots = static_cast<std::uint64_t>(setup.model.rows.rows * setup.world());
    const data::Sampler in_order(parts.validate->samples(), slots, parts.seed, false);
    eval_loader.emplace(*parts.validate, in_order, setup.model.rows.rows);
    eval_runner.emplace(runner_parts(*parts.plan.evaluate, *eval_loader));
    eval_walk = make_walk(*parts.plan.evaluate, *eval_runner);
    eval_report = told<optim::EvalReport>(*parts.plan.evaluate, "eval.report", "host.report");
  }

  void prepare_saving() {
    image = image_of(parts.plan);
    const View ring = find(*parts.plan.snapshot, "snapshot");
    io::Storage& storage = parts.storage != nullptr ? *parts.storage : io::storage();
    writer.emplace(storage, ring.raw(), image);
    Streams all = streams();
    snapshot.emplace(Snapshot::Parts{parts.plan, parts.arenas, parts.file, parts.abort,
                                     *all[at(plan::Lane::down)], parts.device},
                     *writer);
    snapshot_walk = make_walk(*parts.plan.snapshot, *snapshot);
  }

  Runner::Parts runner_parts(const plan::Scheduled& scheduled, const data::BatchLoader& from) {
    return {parts, scheduled, from, decide, streams(), watch, parts.device};
  }
  std::unique_ptr<Walk> make_walk(const plan::Scheduled& scheduled, Visitor& visitor) {
    if (parts.device == nullptr) {
      return std::make_unique<Executor>(
          Executor::Parts{scheduled, visitor, parts.arenas, ledger, parts.abort, parts.trace,
                          parts.comm.rank()},
          parts.lanes);
    }
    StreamExecutor::Parts on{scheduled, visitor, ledger, parts.abort, *parts.device};
    on.hosted[at(plan::Lane::net)] = parts.meets_on_host;
    on.hosted[at(plan::Lane::host)] = on.hosted[at(plan::Lane::disk)] = true;
    const Streams all = streams();
    on.streams[at(plan::Lane::compute)] = all[at(plan::Lane::compute)];
    for (const plan::Step& step : scheduled.program.steps) {
      const bool none = step.lane == plan::Lane::host || step.lane == plan::Lane::disk;
      if (!none) on.streams[at(step.lane)] = all[at(step.lane)];
    }
    on.replay = parts.replay;
    on.watch = watch;
    on.trace = parts.trace;
    on.rank = parts.comm.rank();
    return std::make_unique<StreamExecutor>(std::move(on));
  }

  double nominal_tokens() const {
    const plan::Setup& setup = parts.plan.setup;
    const double labels =
        static_cast<double>(setup.sample.label_type == DType::i32 ? setup.sample.label_cols : 1);
    return static_cast<double>(slots_per_step(setup)) * labels;
  }
  Residence residence() { return {parts.plan, parts.arenas, parts.file, host, compute()}; }
  device::Stream& compute() { return device_compute ? *device_compute : host; }
  /// On a CPU lanes that are threads have workers of their own. On a device the host's lane is its
  /// threads, and copies have streams of their own.
  Streams streams() {
    Streams all;
    all.fill(&compute());
    all[at(plan::Lane::net)] = &net();
    if (parts.device != nullptr || parts.lanes == Lanes::threads)
      all[at(plan::Lane::host)] = &host_updates();
    for (const plan::Lane lane : {plan::Lane::up, plan::Lane::down}) {
      if (parts.device != nullptr) all[at(lane)] = &copies(lane);
    }
    return all;
  }
  static std::size_t at(plan::Lane lane) { return static_cast<std::size_t>(lane); }
  device::Stream& host_updates() {
    if (!host_lane) host_lane.emplace(parts.threads, parts.cores);
    return *host_lane;
  }
  device::Stream& copies(plan::Lane lane) {
    std::optional<device::Stream>& stream = lane == plan::Lane::up ? device_up : device_down;
    if (!stream) stream.emplace(*parts.device);
    return *stream;
  }
  device::Stream& net() {
    if (parts.device != nullptr) return parts.net != nullptr ? *parts.net : *device_compute;
    return parts.lanes == Lanes::threads ? host_net : host;
  }
  /// The first failure is everybody's: other lanes and ranks must not wait for what will not come.
  template <class Body>
  void guarded(Body&& body) {
    try {
      body();
    } catch (const std::exception& error) {
      parts.abort.set(exit_code(error),
                      "rank " + std::to_string(parts.comm.rank()) + ": " + error.what());
      end_collectives();
      throw;
    }
  }
  // Those on a device wait for peers that will not come, and streams end after their work: the
  // communicator sees the abort and cuts them.
  void end_collectives() noexcept {
    try {
      parts.comm.watch();
    } catch (const std::exception&) {  // says again what is being thrown
    }
  }

  template <class Load>
  void fill(Load&& load, const optim::Control& first) {
    const Opened open(parts.arenas[0], parts);
    const Opened open_host(parts.arenas[static_cast<std::size_t>(memory::Tier::host)], parts);
    load();
    control = first;
    const View where = find(parts.plan.train, "control");
    device::copy(where.raw().first(sizeof control), bytes_of(control), compute());
    device::block(compute(), parts.abort);
  }

  View find(const plan::Scheduled& scheduled, const std::string& name) const {
    return persistent_view(scheduled, parts.arenas, name);
  }
  /// Where the host finds what a program wrote for it: in the arena, or in its pinned mirror.
  template <class T>
  const T* told(const plan::Scheduled& scheduled, const char* here, const char* mirror) const {
    return find(scheduled, parts.device == nullptr ? here : mirror).as<T>();
  }
  template <class T>
  T read(const T* from, const Runner& by) {
    if (parts.device != nullptr) {
      by.await_verdict();
      return *from;
    }
    const Opened open({reinterpret_cast<std::byte*>(const_cast<T*>(from)), sizeof(T)}, parts);
    return *from;
  }

  // The vote's buffers are idle between steps; they start the next one as they were: zero.
  Digest sum_over_ranks(const Digest& own) {
    const View in{find(parts.plan.train, "vote.local").data, {1, 2}, DType::i64};
    const View out{find(parts.plan.train, "vote.global").data, {1, 2}, DType::i64};
    const auto move = [&](std::span<std::byte> to, std::span<const std::byte> from) {
      device::copy(to, from, net());
      device::block(net(), parts.abort, watch);
    };
    move(in.raw(), bytes_of(own));
    parts.comm.all_reduce(in, out, {"parameters hash"});
    Digest sum{};
    move(std::as_writable_bytes(std::span(sum)), out.raw());
    move(in.raw(), bytes_of(Digest{}));
    return sum;
  }

  EngineParts parts;
  optim::DecideConfig decide;
  memory::Ledger ledger;
  device::Stream host, host_net;
  std::optional<device::Stream> host_lane, device_compute, device_up, device_down;
  data::Sampler sampler;
  data::BatchLoader loader;
  std::optional<data::BatchLoader> eval_loader;
  std::optional<Runner> runner, eval_runner;
  checkpoint::FileImage image;
  std::optional<checkpoint::FileWriter> writer;
  std::optional<Snapshot> snapshot;
  device::Watch watch = [comm = &parts.comm] { comm->watch(); };
  std::unique_ptr<Walk> walk, eval_walk, snapshot_walk;
  const optim::Control* verdict = nullptr;  // for `read`
  const optim::EvalReport* eval_report = nullptr;
  optim::Control control;  // as of the last verdict
  std::uint64_t done = 0;
};

Engine::Engine(EngineParts parts) : state_(std::make_unique<State>(std::move(parts))) {}
Engine::~Engine() = default;

void Engine::initialise(const model::Weights& weights) {
  state_->fill([&] { load_weights(state_->residence(), weights); },
               optim::initial(state_->parts.precision));
}

void Engine::restore(const checkpoint::Checkpoint& checkpoint) {
  State& s = *state_;
  const auto load = [&] {
    const model::ModelSpec& spec = s.parts.plan.setup.model;
    load_weights(s.residence(), *checkpoint::weights_of(checkpoint, spec), &checkpoint);
    load_moments(s.residence(), checkpoint);
  };
  const checkpoint::Progress& was = checkpoint.manifest().progress;
  optim::Control control = optim::initial(s.parts.precision);
  // A static scale is the flag's; a dynamic one goes on where it was.
  if (s.decide.dynamic && was.hysteresis > 0) {
    control.scale = was.scale;
    control.good = was.good;
    control.hysteresis = was.hysteresis;
  }
  control.skipped_in_row = was.skipped_in_row;
  control.step = was.step;
  control.applied = was.applied;
  s.fill(load, control);
  s.done = was.step;
}

void Engine::save(const std::string& folder, checkpoint::FileWriter::Settled settled) {
  State& s = *state_;
  expects(s.snapshot_walk != nullptr, "save: the plan has no snapshot; prepare it to save");
  s.guarded([&] {
    s.walk->drain();
    s.writer->start(folder, std::move(settled));
    s.snapshot->begin();
    s.snapshot_walk->run(0);
    s.snapshot_walk->drain();
    s.snapshot->finish();
  });
}

checkpoint::FileWriter* Engine::saving() { return state_->writer ? &*state_->writer : nullptr; }

checkpoint::Progress Engine::progress() const {
  const optim::Control& c = state_->control;
  return {c.scale, c.good, c.hysteresis, c.skipped_in_row, c.step, c.applied};
}

StepResult Engine::step(Wish wish) {
  State& s = *state_;
  const std::uint64_t applied = s.control.applied;
  const double lr = optim::learning_rate(s.parts.optimizer, applied, s.parts.total_steps);
  s.runner->fed = {static_cast<float>(lr), optim::bias_correction(s.parts.optimizer.beta1, applied),
                   optim::bias_correction(s.parts.optimizer.beta2, applied),
                   optim::wishes(wish.stop, wish.save)};
  // The verdict comes before the updates: a device has those, and the host goes on.
  s.guarded([&] {
    s.walk->run(s.done);
    s.control = s.read(s.verdict, *s.runner);
  });
  ++s.done;
  const optim::Control& verdict = s.control;
  return {s.done,
          verdict.loss,
          verdict.norm,
          lr,
          verdict.used_scale,
          static_cast<std::uint64_t>(verdict.tokens),
          verdict.update.skip != 0,
          verdict.skipped_in_row,
          verdict.at_minimum != 0,
          verdict.stop > 0,
          verdict.save > 0};
}

double Engine::evaluate() {
  State& s = *state_;
  expects(s.eval_walk != nullptr, "evaluate: the plan has no evaluation; give it validation data");
  double loss = 0;
  s.guarded([&] {
    s.walk->drain();
    s.eval_walk->run(0);
    s.eval_walk->drain();
    loss = s.read(s.eval_report, *s.eval_runner).loss;
  });
  return loss;
}

void Engine::drain() {
  state_->guarded([&] { state_->walk->drain(); });
}

std::string Engine::parameters_hash() {
  State& s = *state_;
  drain();
  const Opened open(s.parts.arenas[0], s.parts);
  const Opened open_host(s.parts.arenas[static_cast<std::size_t>(memory::Tier::host)], s.parts);
  Digest sum = digest_of(s.residence());
  if (s.parts.comm.world() > 1) s.guarded([&] { sum = s.sum_over_ranks(sum); });
  return checkpoint::hash_text(sum);
}

std::vector<PhaseReport> Engine::phases() const {
  std::vector<PhaseReport> all;
  for (const Walk* walk : {state_->walk.get(), state_->eval_walk.get()}) {
    const auto* streams = dynamic_cast<const StreamExecutor*>(walk);
    if (streams == nullptr) continue;
    for (PhaseReport& phase : streams->report()) all.push_back(std::move(phase));
  }
  return all;
}

const memory::Ledger& Engine::ledger() const { return state_->ledger; }
const plan::Plan& Engine::plan() const { return state_->parts.plan; }
std::uint64_t Engine::steps() const { return state_->done; }

}  // namespace sherd::engine
