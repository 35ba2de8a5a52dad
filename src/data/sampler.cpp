#include "sherd/data/sampler.hpp"

#include <array>
#include <bit>

#include "sherd/base/errors.hpp"
#include "sherd/base/philox.hpp"
#include "sherd/base/units.hpp"

namespace sherd::data {
namespace {

constexpr std::size_t rounds = 8;

/// A bijection of [0, n) that needs no memory: a Feistel network on the next even number of bits,
/// walked until it lands inside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t epoch)
      : n_(n), half_((static_cast<unsigned>(std::bit_width(n - 1)) + 1) / 2) {
    const Philox stream = philox(seed, Purpose::shuffle, {epoch});
    for (std::size_t i = 0; i < rounds; i += 2) {
      const PhiloxBlock block = philox_block(stream, i / 2);
      keys_[i] = block[0] | (std::uint64_t{block[1]} << 32);
      keys_[i + 1] = block[2] | (std::uint64_t{block[3]} << 32);
    }
  }

  [[nodiscard]] std::uint64_t operator()(std::uint64_t place) const {
    if (n_ == 1) return 0;
    do place = scramble(place);
    while (place >= n_);
    return place;
  }

 private:
  [[nodiscard]] std::uint64_t scramble(std::uint64_t value) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
    std::uint64_t left = value >> half_, right = value & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = left ^ (mix(right ^ key) & mask);
      left = right;
      right = next;
    }
    return (left << half_) | right;
  }

  std::uint64_t n_;
  unsigned half_;
  std::array<std::uint64_t, rounds> keys_{};
};

}  // namespace

Sampler::Sampler(std::uint64_t samples, std::uint64_t global_batch, std::uint64_t seed,
                 bool shuffle)
    : samples_(samples), global_batch_(global_batch), seed_(seed), shuffle_(shuffle) {
  expects(samples > 0 && samples <= std::uint64_t{1} << 62,
          "sampler: got no samples or too many, need 1 to 2^62");
  expects(global_batch > 0 && global_batch <= std::uint64_t{1} << 62,
          "sampler: got a global batch of 0 or too many, need 1 to 2^62");
}

std::uint64_t Sampler::steps_per_epoch() const { return ceil_div(samples_, global_batch_); }

std::optional<std::uint64_t> Sampler::at(std::uint64_t step, std::uint64_t slot) const {
  expects(slot < global_batch_, "sampler: got a slot outside the global batch");
  const std::uint64_t epoch = step / steps_per_epoch();
  const std::uint64_t place = step % steps_per_epoch() * global_batch_ + slot;
  if (place >= samples_) return std::nullopt;
  return shuffle_ ? Permutation(samples_, seed_, epoch)(place) : place;
}

}  // namespace sherd::data
