#pragma once
// Rank 0's voice: events to the log, progress and tables to people.
#include "sherd/cli/event_log.hpp"
#include "sherd/cli/progress.hpp"
#include "sherd/launch/rank.hpp"

namespace sherd::cli {

class Narrator final : public launch::Observer {
 public:
  Narrator(const launch::Validated& run, const launch::Job& job, std::uint64_t steps);

  void started(const launch::RunStart& start) override;
  void settled(const std::vector<engine::PhaseReport>& phases) override;
  void stepped(const engine::StepResult& result, double seconds) override;
  void evaluated(std::uint64_t step, double loss) override;
  void saved(const launch::Saved& checkpoint) override;
  void ended(const launch::RunSummary& summary) override;

 private:
  const launch::Validated& run_;
  const launch::Job& job_;
  EventLog log_;
  Progress progress_;
  std::uint64_t steps_ = 0;  // seen
};

}  // namespace sherd::cli
