#include "sherd/model/block.hpp"

namespace sherd {

std::optional<ExtendNeeds> Block::extend_needs(const ExtendShape& /*shape*/) const {
  return std::nullopt;
}

void Block::extend(const Extend& e) { forward(e.rows); }

}  // namespace sherd
