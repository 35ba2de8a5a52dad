#pragma once
// The parts of the llama family before its head; `llama` puts them together.
#include "model/adapters.hpp"
#include "sherd/model/llama.hpp"

namespace sherd::model {

/// out = table[token].
class LlamaEmbed final : public Block {
 public:
  explicit LlamaEmbed(const LlamaConfig& config) : config_(config) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(
      const ExtendShape& /*shape*/) const override {
    return ExtendNeeds{};
  }

 private:
  LlamaConfig config_;
};

/// out = in + proj(attention(turned(qkv(norm(in))))).
class LlamaAttention final : public Block {
 public:
  explicit LlamaAttention(const LlamaConfig& config);
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(const ExtendShape& shape) const override;
  void extend(const Extend& e) override;

 private:
  template <class Attend>
  void branch(const Forward& f, Attend attend) const;

  LlamaConfig config_;
  Adapters qkv_, proj_;
};

/// out = in + down(silu(gate(norm(in))) · up(norm(in))).
class LlamaMlp final : public Block {
 public:
  explicit LlamaMlp(const LlamaConfig& config);
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(
      const ExtendShape& /*shape*/) const override {
    return ExtendNeeds{};
  }

 private:
  LlamaConfig config_;
  Adapters gate_up_, down_;
};

}  // namespace sherd::model
