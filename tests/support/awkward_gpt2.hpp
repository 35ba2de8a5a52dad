#pragma once
// A small GPT-2 whose sizes divide by nothing, and tokens for it that are made, not stored.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sherd/base/philox.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/model/frozen.hpp"
#include "sherd/model/gpt2.hpp"

namespace sherd::test {

inline constexpr std::int64_t awkward_length = 33, awkward_vocabulary = 259;

/// Token i of sample s is a function of (s, i); about one label in seven does not count.
class MadeTokens final : public data::Source {
 public:
  explicit MadeTokens(std::uint64_t samples, std::uint64_t salt = 0)
      : samples_(samples), salt_(salt) {}
  std::uint64_t samples() const override { return samples_; }
  data::SampleShape shape() const override {
    return {awkward_length, DType::i32, awkward_length, DType::i32};
  }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    for (std::int64_t i = 0; i < awkward_length; ++i) {
      inputs.as<std::int32_t>()[i] = token(sample, i);
      const bool masked = mix(bits(sample, i)) % 7 == 0;
      labels.as<std::int32_t>()[i] = masked ? -100 : token(sample, i + 1);
    }
  }
  std::uint64_t fingerprint() const override { return mix(samples_ ^ salt_); }

 private:
  std::uint64_t bits(std::uint64_t sample, std::int64_t place) const {
    return mix(salt_ ^ mix(sample * 64 + static_cast<std::uint64_t>(place)));
  }
  std::int32_t token(std::uint64_t sample, std::int64_t place) const {
    return static_cast<std::int32_t>(bits(sample, place) % awkward_vocabulary);
  }

  std::uint64_t samples_, salt_;
};

inline model::Gpt2Config awkward_gpt2(std::int64_t layers = 2) {
  return {.layers = layers,
          .heads = 3,
          .width = 72,
          .ffn_width = 120,
          .vocab_size = awkward_vocabulary,
          .context = awkward_length};
}

inline launch::Job awkward_job(const model::Gpt2Config& config, std::uint64_t samples,
                               const std::vector<std::string>& frozen = {}) {
  launch::Job job;
  job.model = model::gpt2(config);
  job.model.frozen = model::frozen_by(frozen);
  job.description = "awkward";
  job.length = awkward_length;
  job.train = std::make_unique<MadeTokens>(samples);
  job.sample = job.train->shape();
  return job;
}

/// Three steps of two sequences a rank and micro-step.
inline launch::RunConfig awkward_config(int world) {
  launch::RunConfig config;
  config.ranks.ranks = world;
  config.ranks.threads = 1;
  config.batch.micro_batch = 2;
  config.batch.grad_accum = 1;
  config.batch.steps = 3;
  config.model.seed = 1;
  config.sharding.overlap = plan::Overlap::off;
  config.optimizer.lr = 1e-3;
  config.optimizer.weight_decay = 0.1;
  config.optimizer.clip_grad_norm = 1;
  return config;
}

/// Samples that fill one batch and leave the next one short.
inline std::uint64_t one_and_a_half_batches(const launch::RunConfig& config) {
  const auto batch = static_cast<std::uint64_t>(config.batch.micro_batch * config.batch.grad_accum *
                                                config.ranks.ranks);
  return (batch + batch / 2) | 1;
}

}  // namespace sherd::test
