#include <algorithm>

#include "bench/kernel_case.hpp"
#include "sherd/kernels/cross_entropy.hpp"

namespace sherd::bench {
namespace {

constexpr std::int64_t vocabulary = 50257;
constexpr float spread = 5;

float logit(std::int64_t i) { return spread * sample(1, i); }
std::int32_t label(std::int64_t row) { return static_cast<std::int32_t>(row * 977 % vocabulary); }

struct Softmax {
  double loss = 0;
  std::int64_t wrong = 0;
};

// softmax - onehot of one row, from the logits the gradient has replaced.
Softmax check_row(const float* gradient, std::int64_t row) {
  double sum = 0;
  for (std::int64_t c = 0; c < vocabulary; ++c) {
    sum += std::exp(wide(logit(row * vocabulary + c)));
  }
  Softmax result;
  result.loss = std::log(sum) - wide(logit(row * vocabulary + label(row)));
  for (std::int64_t c = 0; c < vocabulary; ++c) {
    const double p = std::exp(wide(logit(row * vocabulary + c))) / sum;
    const double expected = c == label(row) ? p - 1 : p;
    result.wrong += near(gradient[c], expected, 1e-8 + 2e-5 * std::abs(expected)) ? 0 : 1;
  }
  return result;
}

}  // namespace

std::vector<Row> loss_rows(const BenchOptions& options, StreamRef stream) {
  const std::int64_t rows = options.quick ? 16 : 256;
  const Shape shape{rows, vocabulary};
  Buffers buffers(Buffers::cost(shape, DType::f32) + Buffers::cost({rows, 1}, DType::i32));
  const View logits = buffers.take(shape, DType::f32);
  const View labels = buffers.take({rows, 1}, DType::i32);
  fill(logits, 1, spread, stream);
  for (std::int64_t row = 0; row < rows; ++row) labels.as<std::int32_t>()[row] = label(row);
  const float scale = 1;
  kernels::LossSum sums;
  const kernels::CrossEntropyArgs args{
      .logits = logits, .labels = labels, .scale = &scale, .nominal = 1, .sums = &sums};

  Case one{.name = "cross entropy",
           .pass = [&] { kernels::cross_entropy(args, stream); },
           .work = 8 * static_cast<double>(shape.numel()),
           .extra = {{"rows", rows}, {"vocabulary", std::int64_t{vocabulary}}}};
  one.pass();
  double loss = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const Softmax checked = check_row(logits.as<float>() + row * vocabulary, row);
    loss += checked.loss;
    one.wrong += checked.wrong;
  }
  one.wrong += std::abs(sums.loss.value() - loss) <= 1e-5 * loss && sums.tokens == rows ? 0 : 1;
  return {against_copy(one, options.effective_rounds(), stream)};
}

}  // namespace sherd::bench
