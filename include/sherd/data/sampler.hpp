#pragma once
// Which sample stands where: a pure function of (seed, epoch), the same for every world.
#include <cstdint>
#include <optional>

namespace sherd::data {

/// Steps walk epochs of `samples`, each once per epoch; the last batch of an epoch is short, never
/// topped up.
class Sampler {
 public:
  Sampler(std::uint64_t samples, std::uint64_t global_batch, std::uint64_t seed,
          bool shuffle = true);

  [[nodiscard]] std::uint64_t steps_per_epoch() const;
  /// The sample at place `slot` (< global_batch) of `step` (from 0); nothing past the end of a
  /// short batch.
  [[nodiscard]] std::optional<std::uint64_t> at(std::uint64_t step, std::uint64_t slot) const;

 private:
  std::uint64_t samples_, global_batch_, seed_;
  bool shuffle_;
};

}  // namespace sherd::data
