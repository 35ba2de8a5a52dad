#pragma once
// The four parts of GPT-2; `gpt2` puts them together.
#include "sherd/model/gpt2.hpp"

namespace sherd::model {

/// out = table[token] + positions, dropped.
class Gpt2Embed final : public Block {
 public:
  explicit Gpt2Embed(const Gpt2Config& config) : config_(config) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;

 private:
  Gpt2Config config_;
};

/// out = in + drop(proj(attention(qkv(norm(in))))).
class Gpt2Attention final : public Block {
 public:
  explicit Gpt2Attention(const Gpt2Config& config) : config_(config) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;

 private:
  Gpt2Config config_;
};

/// out = in + drop(proj(gelu(fc(norm(in))))).
class Gpt2Mlp final : public Block {
 public:
  explicit Gpt2Mlp(const Gpt2Config& config) : config_(config) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;

 private:
  Gpt2Config config_;
};

/// Cross-entropy of norm(in)·wteᵀ.
class Gpt2Head final : public Head {
 public:
  explicit Gpt2Head(const Gpt2Config& config) : config_(config) {}
  void declare(Declare& d) const override;
  void loss(const LossCall& call) override;
  void logits(const Forward& f) override;

 private:
  Gpt2Config config_;
};

/// GPT-2's initial distributions.
inline constexpr Init init_one{1, 0}, init_zero{0, 0}, init_weight{0, 0.02f};
/// Of a projection into the residual stream, which 2·layers branches add to.
[[nodiscard]] Init init_residual(std::int64_t layers);

}  // namespace sherd::model
