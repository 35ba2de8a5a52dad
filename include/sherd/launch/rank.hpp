#pragma once
// What a rank process does, from its seat to the last step.
#include <optional>
#include <string>
#include <vector>

#include "sherd/comm/control_block.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/engine/engine.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/launch/rank_environment.hpp"
#include "sherd/launch/rank_memory.hpp"
#include "sherd/launch/saving.hpp"

namespace sherd::launch {

struct RunStart {
  const Prepared& prepared;
  std::string numerics_key;
  std::uint64_t parameters = 0;
  std::vector<std::int64_t> pids;  // by rank
  std::string io_engine;           // that moves files; empty where there is none
  std::uint64_t resumed_step = 0;  // 0: started anew
  std::string resumed_from;        // folder
};

struct RunSummary {
  std::uint64_t steps = 0;
  double loss = 0;  // of the last step
  std::string parameters_hash;
  comm::Traffic wire{};  // payload bytes this rank sent in programs
  const memory::Ledger& ledger;
  const plan::Plan& plan;
  Bytes rss_peak = 0;  // the largest of any rank
  double seconds = 0;
  std::optional<Bytes> device_growth;  // on a device: memory taken after step 2
};

/// Hears of a run's progress, on rank 0.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void started(const RunStart& start) = 0;
  /// On a device, once every phase has chosen how it runs.
  virtual void settled(const std::vector<engine::PhaseReport>& phases) = 0;
  virtual void stepped(const engine::StepResult& result, double seconds) = 0;
  virtual void evaluated(std::uint64_t step, double loss) = 0;
  /// Once a checkpoint is durable.
  virtual void saved(const Saved& checkpoint) = 0;
  virtual void ended(const RunSummary& summary) = 0;
};

/// A rank's place among the others.
struct Seat {
  comm::ControlBlock& control;
  const RankEnvironment& environment;
  RankMemory& memory;
  engine::Trace* trace = nullptr;
  std::string_view version = {};  // of the library, for checkpoints
};

/// Trains to the last step, from the checkpoint of `--resume` if one is named. Returns 0, or 128 +
/// the signal all ranks were asked to stop by; SIGTERM's end is saved first.
///
/// **Errors** CommError, DataError, DivergedError, DeviceError (the last save); the caller records
/// them in the control block.
int run_rank(const Validated& run, Job& job, const Prepared& prepared, const Seat& seat,
             Observer* observer);

}  // namespace sherd::launch
