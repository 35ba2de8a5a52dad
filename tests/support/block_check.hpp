#pragma once
// Runs one block or head alone, on buffers exactly as large as declared, each in its own heap
// allocation, so that the address sanitizer sees every byte used beyond the declaration.
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sherd/model/block.hpp"
#include "sherd/model/spec.hpp"

namespace sherd::test {

/// A buffer of its own: 64-byte aligned, filled with a pattern that is NaN in every float type.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Shape shape, DType type);
  explicit Buffer(Bytes bytes) : Buffer({1, static_cast<std::int64_t>(bytes)}, DType::u8) {}
  [[nodiscard]] View view() const { return {data_.get(), shape_, type_}; }
  [[nodiscard]] std::vector<double> values() const;
  void set(const std::vector<double>& values);  // rounded to the type
  void normal(std::uint32_t seed, double mean, double stddev);
  void spoil();
  [[nodiscard]] std::vector<std::byte> bytes() const;

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  Shape shape_{0, 0};
  DType type_ = DType::f32;
};

struct RigOptions {
  DType compute = DType::f32;
  DType grad = DType::f32;
  Shape rows{2, 5};
  std::int64_t vocabulary = 37;  // of random tokens and labels
  int threads = 1;
};

/// One block of a model, its inputs drawn from a seed.
class Rig {
 public:
  /// `index` = blocks.size() is the head.
  Rig(Model& model, std::size_t index, RigOptions options);

  void forward(bool training = true);
  /// Drops the saves in `lost` before (fills them with NaN); gradients are written in `mode`.
  void backward(Write mode = Write::set, bool drop_cheap = false);
  kernels::LossSum loss(bool training = true, float scale = 1, double nominal = 1);
  void logits();

  model::BlockSpec spec;
  model::ModelSpec whole;
  Buffer inputs, labels;
  Buffer in, out, d_out, d_in;
  std::vector<Buffer> params, saves, grads;
  Philox rng{7, 11};

 private:
  [[nodiscard]] bool is_head() const { return index_ == model_.blocks.size(); }
  [[nodiscard]] Batch batch() const { return {inputs.view(), labels.view()}; }
  [[nodiscard]] std::vector<Grad> grad_calls(Write mode) const;

  Model& model_;
  std::size_t index_;
  RigOptions options_;
  std::unique_ptr<device::Stream> stream_;
};

/// f of the tensors, as one number, in fp64: the independent implementation.
using Tensors = std::vector<std::vector<double>>;
using Scalar = std::function<double(const Tensors&)>;

/// Central differences of `f` for every element of tensors[which].
[[nodiscard]] std::vector<double> differences(const Scalar& f, Tensors tensors, std::size_t which);

/// max|a - b| / max|b|; infinite where something is not a number.
[[nodiscard]] double error(const std::vector<double>& a, const std::vector<double>& b);

/// The worst `error` over all gradients of a rig that has run forward and backward, and the name of
/// its tensor. `f` takes {in, params…} (in empty where there is none).
struct Worst {
  double error = 0;
  std::string tensor;
};
[[nodiscard]] Worst check_gradients(const Rig& rig, const Scalar& f);
/// The same for tensors too large for that: derivatives along each gradient itself and along random
/// directions, relative to the gradient's norm.
[[nodiscard]] Worst check_directions(const Rig& rig, const Scalar& f);

}  // namespace sherd::test
