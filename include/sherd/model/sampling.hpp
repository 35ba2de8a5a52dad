#pragma once
// Which token comes next.
// Source: nucleus (top-p): Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration",
// §3.1; top-k: Fan et al. 2018, "Hierarchical Neural Story Generation", §5.4.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sherd::model {

struct SamplingConfig {
  double temperature = 1;  // logits are divided by it; 0: the most likely token
  std::int64_t top_k = 0;  // only the k most likely tokens; 0: all
  double top_p = 1;        // of those, the fewest most likely ones that have this probability
  std::uint64_t seed = 0;
};

/// What is wrong with the numbers, one sentence each.
[[nodiscard]] std::vector<std::string> problems_of(const SamplingConfig& config);

/// Draws tokens; remembers nothing but memory for the vocabulary.
class Sampler {
 public:
  Sampler(SamplingConfig config, std::int64_t vocab_size);

  /// The token at `position`, drawn with bits of (seed, position): temperature, then top-k, then
  /// top-p. Of equal logits the lower token counts as the more likely one.
  ///
  /// **Errors** DataError when no logit is finite, or one is not a number.
  [[nodiscard]] std::int32_t draw(std::span<const float> logits, std::uint64_t position);

 private:
  void order(std::span<const float> logits, std::size_t count);

  SamplingConfig config_;
  std::vector<std::int32_t> tokens_;  // the most likely ones first, as far as they are needed
  std::vector<double> weights_;       // exp of their logits relative to the largest
};

}  // namespace sherd::model
