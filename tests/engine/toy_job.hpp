#pragma once
// A network of rows of numbers without products: features, shifts by a parameter, squared error.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "sherd/base/philox.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/model/mlp.hpp"

namespace sherd::test {

inline constexpr std::int64_t toy_width = 6;  // two rows fill 48 bytes: no buffer ends at another

/// Rows of numbers that are functions of (sample, column).
class MadeRows final : public data::Source {
 public:
  explicit MadeRows(std::uint64_t samples) : samples_(samples) {}
  std::uint64_t samples() const override { return samples_; }
  data::SampleShape shape() const override {
    return {toy_width, DType::f32, toy_width, DType::f32};
  }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    for (std::int64_t i = 0; i < toy_width; ++i) {
      inputs.as<float>()[i] = number(2 * sample, i);
      labels.as<float>()[i] = number(2 * sample + 1, i);
    }
  }
  std::uint64_t fingerprint() const override { return mix(samples_); }

 private:
  static float number(std::uint64_t row, std::int64_t col) {
    return static_cast<float>(mix(row * 64 + static_cast<std::uint64_t>(col)) % 1024) / 512 - 1;
  }
  std::uint64_t samples_;
};

/// out = in + shift; before each forward it calls `also`, if there is such a function.
class Shift final : public Block {
 public:
  using Also = std::function<void(const Forward&)>;
  explicit Shift(Also also = {}, bool random = false) : also_(std::move(also)), random_(random) {}
  void declare(Declare& d) const override {
    const Shape rows{d.rows().rows, toy_width};
    d.input(rows);
    d.output(rows);
    d.param("shift", {1, toy_width}, {0, 0.5F});
    d.backward_reads({});
    d.save_input();
    if (random_) d.random();
  }
  void forward(const Forward& f) override {
    if (also_) also_(f);
    for (std::int64_t row = 0; row < f.in.shape.rows; ++row)
      kernels::add(f.in.rows(row, 1), f.params[0], f.out.rows(row, 1), f.stream);
  }
  void backward(const Backward& b) override {
    kernels::bias_gradient({b.d_out, b.grads[0]}, b.stream);
    kernels::cast(b.d_out, b.d_in, b.stream);
  }

 private:
  Also also_;
  bool random_;
};

/// Two shifts, which call these before each forward; the second declares random bits.
inline launch::Job toy_job(Shift::Also first = {}, Shift::Also second = {}) {
  launch::Job job;
  job.model.add<model::Features>("features", toy_width);
  job.model.add<Shift>("first.shift", std::move(first));
  job.model.add<Shift>("second.shift", std::move(second), true);
  job.model.end<model::SquaredErrorHead>(toy_width);
  job.description = "toy";
  job.train = std::make_unique<MadeRows>(13);
  job.sample = job.train->shape();
  return job;
}

}  // namespace sherd::test
