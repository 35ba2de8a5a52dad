#pragma once
// Training data that goes bad.
#include "sherd/base/errors.hpp"
#include "support/awkward_gpt2.hpp"

namespace sherd::test {

/// Bad content from the `good`-th reading on.
class TornTokens final : public data::Source {
 public:
  TornTokens(std::uint64_t samples, int good) : inner_(samples), good_(good) {}
  std::uint64_t samples() const override { return inner_.samples(); }
  data::SampleShape shape() const override { return inner_.shape(); }
  void read(std::uint64_t sample, View inputs, View labels) const override {
    if (--good_ < 0) throw DataError("tokens.bin: token 999 at byte 42 is outside the vocabulary");
    inner_.read(sample, inputs, labels);
  }
  std::uint64_t fingerprint() const override { return inner_.fingerprint(); }

 private:
  MadeTokens inner_;
  mutable int good_;
};

}  // namespace sherd::test
