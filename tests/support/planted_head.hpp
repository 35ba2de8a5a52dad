#pragma once
// A head that spoils its own gradient at chosen steps.
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "sherd/model/block.hpp"

namespace sherd::test {

/// Writes `value` into the first gradient element of the training micro-steps that `when` names,
/// counted from 1.
class PlantedHead final : public Head {
 public:
  PlantedHead(std::unique_ptr<Head> inner, float value, std::function<bool(int)> when)
      : inner_(std::move(inner)), value_(value), when_(std::move(when)) {}
  void declare(Declare& d) const override { inner_->declare(d); }
  void logits(const Forward& f) override { inner_->logits(f); }
  void loss(const LossCall& call) override {
    inner_->loss(call);
    if (call.scale == nullptr || !when_(++calls_)) return;
    const View to = call.grads[0].to;
    if (to.type == DType::f32) *to.as<float>() = value_;
    if (to.type == DType::bf16) *to.as<std::uint16_t>() = 0x7f80;  // inf
  }

 private:
  std::unique_ptr<Head> inner_;
  float value_;
  std::function<bool(int)> when_;
  int calls_ = 0;
};

inline void plant(Model& model, float value, std::function<bool(int)> when) {
  model.head = std::make_unique<PlantedHead>(std::move(model.head), value, std::move(when));
}

}  // namespace sherd::test
