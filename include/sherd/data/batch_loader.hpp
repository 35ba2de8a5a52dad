#pragma once
// Puts samples where a micro-step reads them.
#include <cstdint>

#include "sherd/base/view.hpp"
#include "sherd/data/sampler.hpp"
#include "sherd/data/source.hpp"

namespace sherd::data {

/// Fills micro-batches: leaf i of a step holds slots [i · micro_batch, (i + 1) · micro_batch).
class BatchLoader {
 public:
  /// `source` outlives the loader.
  BatchLoader(const Source& source, const Sampler& sampler, std::int64_t micro_batch);

  /// Fills the micro-batch of `leaf` (from 0) of `step` (from 0); returns the rows that hold
  /// samples, always the first ones.
  ///
  /// Rows past the end of a short batch get inputs 0 and labels that do not count: −100 as i32,
  /// NaN as f32.
  /// **Shapes** inputs [micro_batch, input_cols], labels [micro_batch, label_cols].
  std::int64_t fill(std::uint64_t step, std::uint64_t leaf, View inputs, View labels) const;

 private:
  const Source* source_;
  Sampler sampler_;
  std::int64_t micro_batch_;
};

}  // namespace sherd::data
