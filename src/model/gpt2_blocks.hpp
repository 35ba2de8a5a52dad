#pragma once
// The parts of GPT-2 before its head; `gpt2` puts them together.
#include "model/adapters.hpp"
#include "model/init.hpp"
#include "sherd/model/gpt2.hpp"

namespace sherd::model {

/// out = table[token] + positions, dropped.
class Gpt2Embed final : public Block {
 public:
  explicit Gpt2Embed(const Gpt2Config& config) : config_(config) {}
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(
      const ExtendShape& /*shape*/) const override {
    return ExtendNeeds{};
  }
  void extend(const Extend& e) override;

 private:
  Gpt2Config config_;
};

/// out = in + drop(proj(attention(qkv(norm(in))))).
class Gpt2Attention final : public Block {
 public:
  explicit Gpt2Attention(const Gpt2Config& config);
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(const ExtendShape& shape) const override;
  void extend(const Extend& e) override;

 private:
  template <class Attend>
  void branch(const Forward& f, Attend attend) const;

  Gpt2Config config_;
  Adapters qkv_, proj_;
};

/// out = in + drop(proj(gelu(fc(norm(in))))).
class Gpt2Mlp final : public Block {
 public:
  explicit Gpt2Mlp(const Gpt2Config& config);
  void declare(Declare& d) const override;
  void forward(const Forward& f) override;
  void backward(const Backward& b) override;
  [[nodiscard]] std::optional<ExtendNeeds> extend_needs(
      const ExtendShape& /*shape*/) const override {
    return ExtendNeeds{};
  }

 private:
  Gpt2Config config_;
  Adapters fc_, proj_;
};

}  // namespace sherd::model
