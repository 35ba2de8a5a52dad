#pragma once
// Runs on the tiny networks of tests/fixtures; SHERD_FIXTURES is the folder.
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "sherd/launch/run_config.hpp"

namespace sherd::test {

inline std::string folder_of(const std::string& network) {
  return SHERD_FIXTURES "/" + network + "_parity";
}
inline nlohmann::json expected(const std::string& network) {
  return nlohmann::json::parse(std::ifstream(folder_of(network) + "/expected.json"));
}

/// Buckets of a layer each; the caller says how long it is.
inline launch::RunConfig fixture_config(const std::string& network, int world, int stage) {
  launch::RunConfig config;
  config.model.model = folder_of(network);
  config.data.data = {folder_of(network) + "/tokens.npy"};
  config.data.seq_len = 16;
  config.ranks.ranks = world;
  config.ranks.threads = 1;
  config.sharding.zero_stage = stage;
  config.sharding.bucket_bytes = 1;
  return config;
}

/// The eight steps of the fixture's trace.
inline launch::RunConfig parity_config(const std::string& network, int world, int stage) {
  launch::RunConfig config = fixture_config(network, world, stage);
  config.batch.global_batch = 4;
  config.batch.steps = 8;
  const nlohmann::json optimizer = expected(network).at("optimizer");
  config.optimizer.lr = optimizer.at("lr");
  config.optimizer.beta1 = optimizer.at("beta1");
  config.optimizer.beta2 = optimizer.at("beta2");
  config.optimizer.eps = optimizer.at("eps");
  config.optimizer.weight_decay = optimizer.at("weight_decay");
  return config;
}

}  // namespace sherd::test
