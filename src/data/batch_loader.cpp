#include "sherd/data/batch_loader.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "sherd/base/errors.hpp"

namespace sherd::data {
namespace {

bool fits(const View& view, Shape shape, DType type) {
  return view && view.shape == shape && view.type == type;
}

void fill_absent(const View& inputs, const View& labels) {
  std::memset(inputs.data, 0, inputs.bytes());
  if (labels.type == DType::i32) {
    std::ranges::fill(labels.span<std::int32_t>(), -100);
  } else {
    std::ranges::fill(labels.span<float>(), std::numeric_limits<float>::quiet_NaN());
  }
}

}  // namespace

BatchLoader::BatchLoader(const Source& source, const Sampler& sampler, std::int64_t micro_batch)
    : source_(&source), sampler_(sampler), micro_batch_(micro_batch) {
  expects(micro_batch > 0, "batch_loader: got a micro-batch of 0 or less, need at least 1");
  const DType labels = source.shape().label_type;
  expects(labels == DType::i32 || labels == DType::f32,
          "batch_loader: got labels of another type, need i32 or fp32");
}

std::int64_t BatchLoader::fill(std::uint64_t step, std::uint64_t leaf, View inputs,
                               View labels) const {
  const SampleShape shape = source_->shape();
  expects(fits(inputs, {micro_batch_, shape.input_cols}, shape.input_type),
          "batch_loader: got inputs of another shape or type than the source's");
  expects(fits(labels, {micro_batch_, shape.label_cols}, shape.label_type),
          "batch_loader: got labels of another shape or type than the source's");
  const std::uint64_t first = leaf * static_cast<std::uint64_t>(micro_batch_);
  for (std::int64_t row = 0; row < micro_batch_; ++row) {
    const auto sample = sampler_.at(step, first + static_cast<std::uint64_t>(row));
    if (!sample) {
      fill_absent(inputs.rows(row, micro_batch_ - row), labels.rows(row, micro_batch_ - row));
      return row;
    }
    source_->read(*sample, inputs.rows(row, 1), labels.rows(row, 1));
  }
  return micro_batch_;
}

}  // namespace sherd::data
