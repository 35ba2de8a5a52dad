#pragma once
// A multi-layer perceptron on rows of numbers: the smallest network, and a pattern to copy.
#include <cstdint>

#include "sherd/model/block.hpp"

namespace sherd::model {

enum class Task : std::uint8_t {
  regression,     // labels fp32 [sequences, outputs], half the squared error
  classification  // labels i32 [sequences, 1], softmax cross-entropy
};

struct MlpConfig {
  std::int64_t inputs = 0;  // columns of the batch's inputs, fp32
  std::int64_t width = 0;   // of every hidden layer
  std::int64_t hidden = 1;  // layers with GELU
  std::int64_t outputs = 0;
  Task task = Task::regression;
};

/// Blocks "features", "layer{i}.linear" (one more than hidden), and the head of the task.
///
/// **Shapes** a micro-batch has `rows().rows` rows; the length plays no part.
/// **Errors** UsageError for numbers that are no network.
[[nodiscard]] Model mlp(const MlpConfig& config);

/// out = the batch's inputs, in the compute type.
class Features final : public Block {
 public:
  explicit Features(std::int64_t columns) : columns_(columns) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;

 private:
  std::int64_t columns_;
};

enum class Activation : std::uint8_t { none, gelu };

/// out = activation(in·weight + bias), weight [in, out].
class Linear final : public Block {
 public:
  Linear(std::int64_t in, std::int64_t out, Activation activation = Activation::none)
      : in_(in), out_(out), activation_(activation) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;

 private:
  std::int64_t in_, out_;
  Activation activation_;
};

/// Half the squared error against labels [sequences, outputs]; NaN as a row's first label counts
/// nothing.
class SquaredErrorHead final : public Head {
 public:
  explicit SquaredErrorHead(std::int64_t outputs) : outputs_(outputs) {}
  void declare(Declare& d) const override;
  void loss(const LossCall& call) override;
  void logits(const Forward& f) override;

 private:
  std::int64_t outputs_;
};

/// Softmax cross-entropy of the input as logits.
class ClassifierHead final : public Head {
 public:
  explicit ClassifierHead(std::int64_t classes) : classes_(classes) {}
  void declare(Declare& d) const override;
  void loss(const LossCall& call) override;
  void logits(const Forward& f) override;

 private:
  std::int64_t classes_;
};

}  // namespace sherd::model
