#pragma once
// One rank's engine in this process, ready to step, with its trace.
#include <memory>
#include <string>

#include "sherd/bench/bounds.hpp"
#include "sherd/comm/local.hpp"
#include "sherd/engine/engine.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/memory/arena.hpp"

namespace sherd::bench {

/// A network's run on one rank, as bench rows vary it.
struct RunShape {
  std::string model = "gpt2-tiny";
  optim::Precision precision = optim::Precision::fp32;
  int zero_stage = 0;
  int ranks = 1;
  int threads = 0;
  std::int64_t micro_batch = 4;
  std::int64_t seq_len = 64;
  std::int64_t grad_accum = 1;
};
[[nodiscard]] const char* name_of(optim::Precision precision);
[[nodiscard]] launch::RunConfig config_of(const RunShape& shape);
/// The flags of `sherd train` that mean the same.
[[nodiscard]] std::vector<std::string> flags_of(const RunShape& shape, const std::string& data,
                                                int steps);
/// The products with weights of a step of one rank: forward, and two each in backward.
[[nodiscard]] std::vector<GemmShape> products_of(const RunShape& shape);

class Rig {
 public:
  Rig(const RunShape& shape, const std::string& data);
  void step() { last_ = engine_->step(); }
  [[nodiscard]] const engine::StepResult& last() const { return last_; }
  [[nodiscard]] const plan::Plan& plan() const { return prepared_.plan; }
  [[nodiscard]] const engine::Trace& trace() const { return trace_; }

 private:
  launch::Validated run_;
  launch::Job job_;
  launch::Prepared prepared_;
  memory::Arena arena_;
  comm::ControlMapping control_;
  std::unique_ptr<comm::Communicator> comm_;
  engine::Trace trace_;
  std::unique_ptr<engine::Engine> engine_;
  engine::StepResult last_{};
};

}  // namespace sherd::bench
