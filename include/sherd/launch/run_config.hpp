#pragma once
// Everything a run is told: the aggregate of the modules' own configs.
#include <string>

#include "sherd/comm/config.hpp"
#include "sherd/data/config.hpp"
#include "sherd/model/config.hpp"
#include "sherd/optim/config.hpp"
#include "sherd/plan/config.hpp"

namespace sherd::launch {

struct OutputConfig {
  std::string log;       // JSON lines, one event each
  bool quiet = false;    // no progress, only warnings
  bool dry_run = false;  // print the plan, then stop
};

struct RunConfig {
  model::ModelConfig model;
  data::DataConfig data;
  data::BatchConfig batch;
  comm::RanksConfig ranks;
  plan::ShardingConfig sharding;
  optim::PrecisionConfig precision;
  optim::OptimizerConfig optimizer;
  plan::MemoryConfig memory;
  OutputConfig output;
};

}  // namespace sherd::launch
