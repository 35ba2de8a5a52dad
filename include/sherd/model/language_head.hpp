#pragma once
// The head of a language model: a norm, a table of tokens, cross-entropy.
#include <cstdint>
#include <string>

#include "sherd/model/block.hpp"

namespace sherd::model {

enum class NormKind : std::uint8_t { layer, rms };

struct LanguageHeadConfig {
  std::int64_t width = 0, vocab_size = 0;
  NormKind norm = NormKind::layer;
  float eps = 0;
  std::string tied_to;  // parameter of block "embed"; empty: a table of its own, "lm_head"
};

/// Cross-entropy of norm(in)·tableᵀ, in chunks of rows.
///
/// **Shapes** the table is [vocab_size, width]; labels are i32 [sequences, length].
/// **Memory** evaluation of the loss and `logits` need the forward scratch, training the backward
/// scratch.
class LanguageHead final : public Head {
 public:
  explicit LanguageHead(LanguageHeadConfig config) : config_(std::move(config)) {}
  void declare(Declare& d) const override;
  void loss(const LossCall& call) override;
  void logits(const Forward& f) override;

 private:
  LanguageHeadConfig config_;
};

/// Rows of logits alive at once: a function of the vocabulary and the kind of device alone, because
/// it changes bits.
[[nodiscard]] std::int64_t head_chunk_rows(std::int64_t vocab_size,
                                           DeviceKind kind = DeviceKind::cpu);

}  // namespace sherd::model
