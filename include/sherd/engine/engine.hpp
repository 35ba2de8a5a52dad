#pragma once
// One rank of a training run: the plan, its memory, and the programs that run on it.
#include <cstdint>
#include <memory>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/comm/communicator.hpp"
#include "sherd/data/sampler.hpp"
#include "sherd/data/source.hpp"
#include "sherd/engine/executor.hpp"
#include "sherd/engine/stream_executor.hpp"
#include "sherd/io/record_file.hpp"
#include "sherd/memory/arena.hpp"
#include "sherd/model/block.hpp"
#include "sherd/model/weights.hpp"
#include "sherd/optim/control.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::engine {

/// What a run needs beside its plan. Everything borrowed outlives the engine.
struct EngineParts {
  Model& model;
  plan::Plan plan;                                         // of this rank
  std::array<std::span<std::byte>, memory::tiers> arenas;  // zeroed; none for the file tier
  io::RecordFile* file = nullptr;                          // needed where the plan has a file tier
  comm::Communicator& comm;                                // over the device arena
  const device::OpenDevice* device = nullptr;              // where it computes; null: the CPU
  device::Stream* net = nullptr;                           // on a device: the communicator's stream
  bool meets_on_host = true;  // the communicator waits for peers on the host
  AbortWord& abort;
  const data::Source& train;
  const data::Source* validate = nullptr;
  optim::PrecisionConfig precision{};
  optim::OptimizerConfig optimizer{};
  plan::ReduceOrder reduce_order = plan::ReduceOrder::fast;
  std::uint64_t seed = 0;
  std::uint64_t total_steps = 1;  // for the schedule
  int threads = 1;                // of the compute lane
  std::vector<int> cores = {};    // of the machine, a thread each; none: where the system likes
  Lanes lanes = Lanes::inlined;   // of a CPU
  Replay replay = Replay::where_it_can;
  Trace* trace = nullptr;
  io::Storage* storage = nullptr;  // where it saves; null: the system's
};

/// What one step came to; the same on every rank.
struct StepResult {
  std::uint64_t step = 0;  // from 1
  double loss = 0, grad_norm = 0, lr = 0, loss_scale = 1;
  std::uint64_t tokens = 0;
  bool skipped = false;
  std::uint32_t skipped_in_row = 0;
  bool scale_at_minimum = false;
  bool stop = false;  // some rank was asked to stop
  bool save = false;  // some rank was asked to save
};

/// What a rank wishes for after a step; the step sums it over ranks, so all agree.
struct Wish {
  bool stop = false, save = false;
};

/// **Errors** CommError (a peer; the engine is then dead), DataError (bad content), DivergedError
/// from `step`.
class Engine {
 public:
  explicit Engine(EngineParts parts);
  ~Engine();

  /// Fills this rank's part of parameters and master weights; optimizer moments start at zero.
  void initialise(const model::Weights& weights);
  /// The same from a checkpoint of any world, stage, tier and format; the next step follows its
  /// last. **Errors** DataError; the engine is then dead.
  void restore(const checkpoint::Checkpoint& checkpoint);
  /// One optimizer step.
  StepResult step(Wish wish = {});
  /// Copies what this rank owns, as the last step left it; it is written to a file in `folder`
  /// while training goes on, and `settled` is called. Needs a plan that saves, and no file under
  /// way.
  void save(const std::string& folder, checkpoint::FileWriter::Settled settled);
  /// The file that `save` began; null where the plan does not save.
  [[nodiscard]] checkpoint::FileWriter* saving();
  /// What a checkpoint says of the loop.
  [[nodiscard]] checkpoint::Progress progress() const;
  /// Returns when all steps are complete on every lane: the communicator's traffic is then theirs.
  void drain();
  /// Token-weighted mean loss over the validation source, in a fixed order.
  double evaluate();
  /// 128 bits over every fp32 master weight, by name and position, without padding: the same at any
  /// stage or world. Collective.
  [[nodiscard]] std::string parameters_hash();

  [[nodiscard]] const memory::Ledger& ledger() const;
  [[nodiscard]] const plan::Plan& plan() const;
  /// How each phase runs on a device; empty on the CPU.
  [[nodiscard]] std::vector<PhaseReport> phases() const;
  /// Steps done, from 0.
  [[nodiscard]] std::uint64_t steps() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sherd::engine
