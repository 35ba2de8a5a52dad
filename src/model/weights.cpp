#include "sherd/model/weights.hpp"

#include <algorithm>

#include "sherd/kernels/elementwise.hpp"

namespace sherd::model {
namespace {

class RandomWeights final : public Weights {
 public:
  explicit RandomWeights(std::uint64_t seed) : seed_(seed) {}

  void read(const ParamSpec& param, std::uint64_t first, std::span<float> out) const override {
    if (param.init.stddev == 0) {
      std::ranges::fill(out, param.init.mean);
      return;
    }
    device::Stream stream(1);
    const View x{reinterpret_cast<std::byte*>(out.data()),
                 {1, static_cast<std::int64_t>(out.size())},
                 DType::f32};
    kernels::fill_normal(x, first, param.init.mean, param.init.stddev,
                         philox(seed_, Purpose::init, {hash_name(param.name)}), stream);
  }
  std::uint64_t fingerprint() const override { return mix(seed_); }

 private:
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<Weights> random_weights(std::uint64_t seed) {
  return std::make_unique<RandomWeights>(seed);
}

}  // namespace sherd::model
