#include "sherd/comm/communicator.hpp"

namespace sherd::comm {

std::string_view name_of(Verb verb) {
  constexpr std::string_view names[verbs] = {"all_gather", "reduce_scatter", "all_reduce",
                                             "broadcast", "barrier"};
  const auto index = static_cast<std::size_t>(verb);
  return index < verbs ? names[index] : "an unknown collective";
}

}  // namespace sherd::comm
