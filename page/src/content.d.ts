declare module "virtual:shipped-content" {
  /** The card of each network as HTML. */
  export const cards: Record<string, string>;
  export const rates: import("../content/figures").Rates;
  export const errorRates: import("../content/figures").ErrorRates;
}
