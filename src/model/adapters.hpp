#pragma once
// The adapters of one product, beside what a block does with its frozen weight.
#include <initializer_list>
#include <string>
#include <vector>

#include "sherd/model/block.hpp"
#include "sherd/model/lora.hpp"

namespace sherd::model {

/// Part of a product's result: q, k and v are columns of one.
struct AdapterSite {
  std::string_view name;  // of lora_sites
  std::int64_t first = 0, columns = 0;
};

/// Parameters `<site>.lora_a` [in, rank] and `<site>.lora_b` [rank, columns]; save `<site>.lora`
/// [rows, rank], which is (alpha / rank) · x·A. They follow the block's own, in this order.
class Adapters {
 public:
  /// Indices of the first parameter and the first save in the block.
  struct Start {
    std::size_t param = 0, save = 0;
  };
  Adapters(const LoraConfig& config, std::int64_t in, std::initializer_list<AdapterSite> sites,
           Start start);

  /// Where the adapters that follow these start.
  [[nodiscard]] Start end() const {
    return {at_.param + 2 * sites_.size(), at_.save + sites_.size()};
  }
  [[nodiscard]] bool any() const { return !sites_.empty(); }

  void declare(Declare& d, std::int64_t rows) const;
  /// Of a call of either, for so many rows.
  [[nodiscard]] Bytes scratch(std::int64_t rows, const Target& target) const;

  /// out += (alpha / rank) · (x·A)·B.
  void add_to(View out, View x, const Forward& f) const;
  /// A's and B's gradients, and d_in += what comes back through them; `d_in` may be absent.
  void backward(View d_out, View x, View d_in, const Backward& b, View tool) const;

 private:
  LoraConfig config_;
  std::int64_t in_;
  std::vector<AdapterSite> sites_;
  Start at_;
};

}  // namespace sherd::model
